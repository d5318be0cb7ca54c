"""The staff list of conversations: finds by whatever people have at hand, and costs the same over a million rows."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from agents.models import Agent
from config.lists import CappedPaginator
from conversations import log, sessions, takeover
from conversations.admin.conversation import NEWEST, ConversationAdmin
from conversations.models import Conversation

LIST = "/admin/conversations/conversation/"
AGENT = UUID("01890000-0000-7000-8000-000000000001")
pytestmark = pytest.mark.django_db


def talk(title: str, user_id: int = 1, at: datetime | None = None, **start: object) -> Conversation:
    """A conversation whose last message is of that moment."""
    conversation, _ = sessions.open(user_id, title=title, **start)  # type: ignore[arg-type]
    log.append(conversation.pk, "user", "hello")
    if at:
        Conversation.objects.filter(pk=conversation.pk).update(last_message_at=at)
    return conversation


def titles(client: Client, query: str = "", **headers: str) -> list[str]:
    response = client.get(f"{LIST}?{query}", headers=headers)
    assert response.status_code == 200, response
    return [row.title for row in response.context["cl"].result_list]


def test_the_latest_activity_comes_first(staff: Client) -> None:
    old, _new = talk("old"), talk("new")
    assert titles(staff) == ["new", "old"]
    log.append(old.pk, "user", "again")
    sessions.open(3, title="silent")
    assert titles(staff) == ["old", "new", "silent"]


@pytest.mark.parametrize(
    "text", ["id", "title", "TITLE", "начало", "user", "chat", "%", "_", "'; DROP TABLE conversations;--"]
)
def test_search_takes_what_people_have_at_hand(staff: Client, text: str) -> None:
    wanted = talk(
        "Начало: a Title 100%_'; DROP TABLE conversations;--", user_id=77, chat_id=-100200, channel="telegram"
    )
    talk("something else", user_id=78, chat_id=5, channel="telegram")
    text = {"id": str(wanted.pk), "user": "77", "chat": "-100200"}.get(text, text)
    response = staff.get(LIST, {"q": text})
    assert [row.pk for row in response.context["cl"].result_list] == [wanted.pk]


def test_a_number_is_also_looked_for_in_titles(staff: Client) -> None:
    talk("plans for 2027")
    assert titles(staff, "q=2027") == ["plans for 2027"]


def test_filters_by_channel_mode_agent_and_day(staff: Client) -> None:
    talk("api")
    Agent.objects.create(id=AGENT, name="listener", config_path="listener.toml")
    talk("telegram", chat_id=1, channel="telegram", agent_id=AGENT)
    Conversation.objects.filter(title="telegram").update(mode="manual")
    assert titles(staff, "channel=telegram") == ["telegram"]
    assert titles(staff, "mode__exact=manual") == ["telegram"]
    assert titles(staff, f"agent_id={AGENT}") == ["telegram"]
    assert titles(staff, "channel=telegram&mode__exact=auto") == []
    offered = staff.get(LIST).content.decode()
    assert str(AGENT) in offered
    assert '<option value="telegram"' in offered


@pytest.mark.parametrize(("language", "day"), [("en", "2026-03-05"), ("ru", "05.03.2026"), ("ru", "2026-03-05")])
def test_a_day_is_a_whole_day_in_either_language(staff: Client, language: str, day: str) -> None:
    for hour, minute in ((0, 0), (23, 59)):
        talk(f"{hour}:{minute}", at=datetime(2026, 3, 5, hour, minute, tzinfo=UTC))
    talk("before", at=datetime(2026, 3, 4, 23, 59, tzinfo=UTC))
    talk("after", at=datetime(2026, 3, 6, tzinfo=UTC))
    query = f"last_message_at_from={day}&last_message_at_to={day}"
    assert titles(staff, query, **{"accept-language": language}) == ["23:59", "0:0"]


@pytest.mark.parametrize(
    "query",
    [
        *("channel=%00", "channel=nobody", "mode__exact=%00", "mode__exact=x", "agent_id=x", "agent_id=%00", "q=%00"),
        *("last_message_at_from=yesterday", "last_message_at_from=0000-00-00", "last_message_at_to=9999-12-31"),
        *("last_message_at_to=10000-01-01", "last_message_at_from=%00", "p=0", "p=10000000000", "o=3", "all=1"),
        *("q=" + "9" * 400, "q=9223372036854775808", "q=-9223372036854775809", "q=１２", "_facets=True", "user_id=x"),
        *("user_id__foo=1", "messages__content__icontains=a", "metadata__a=1", "q=" + "a" * 5000),
    ],
)
def test_whatever_is_asked_is_answered(staff: Client, query: str) -> None:
    talk("one")
    assert staff.get(f"{LIST}?{query}").status_code in {200, 302, 400}
    assert titles(staff) == ["one"]


class TestOverManyRows:
    @pytest.fixture(autouse=True)
    def many(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO conversations (user_id, channel, title, last_message_at)"
                " SELECT n, 'api', 'talk ' || n, clock_timestamp() - n * interval '1 minute'"
                " FROM generate_series(1, 20000) n"
            )
            cursor.execute("ANALYZE conversations")

    def test_the_list_walks_its_index(self) -> None:
        rows = Conversation.objects.order_by(*NEWEST)
        for page in (rows[:50], rows[9950:10000]):
            plan = page.explain()
            assert "conversations_staff_list" in plan
            assert "Sort" not in plan
            assert "Seq Scan" not in plan

    def test_pages_are_found_without_counting_the_table(self, staff: Client) -> None:
        staff.get("/admin/")  # the first visit of a session is written down
        with CaptureQueriesContext(connection) as queries:
            page = staff.get(LIST).content.decode()
        counts = [query["sql"] for query in queries if "COUNT(" in query["sql"].upper()]
        assert len(counts) == 1
        assert f"LIMIT {CappedPaginator.cap + 1}" in counts[0]
        assert "DISTINCT" not in str(queries.captured_queries)
        assert len(queries) <= 6
        assert re.search(r"more than 10000; filters and search lead to the others", page)

    def test_the_number_of_queries_does_not_grow_with_the_page(self, staff: Client) -> None:
        staff.get(LIST)
        numbers = set()
        for query in ("", "p=2", "p=200", "channel=api"):
            with CaptureQueriesContext(connection) as queries:
                staff.get(f"{LIST}?{query}")
            numbers.add(len(queries))
        assert len(numbers) == 1

    def test_the_last_page_before_the_cap_is_reached(self, staff: Client) -> None:
        assert titles(staff, "p=200")[-1] == "talk 10000"

    def test_few_rows_are_counted_exactly(self, staff: Client) -> None:
        page = staff.get(f"{LIST}?q=talk+19999").content.decode()
        assert "more than" not in page
        assert "1\n" in page

    def test_the_palette_looks_at_the_newest_alone(self, staff: Client, django_assert_max_num_queries) -> None:
        staff.get("/admin/")
        with django_assert_max_num_queries(17):  # about one for each model that the palette looks into
            found = staff.get("/admin/search/?extended=1&s=talk+9999").content.decode()
        assert "talk 9999" in found
        older = staff.get("/admin/search/?extended=1&s=talk+19999").content.decode()
        assert "/conversations/conversation/" not in older
        assert "talk 19999" in staff.get("/admin/search/?extended=1&s=19999").content.decode()

    def test_a_users_conversations_are_found_by_index(self) -> None:
        assert "conversations_user" in Conversation.objects.filter(user_id=7).order_by(*NEWEST)[:50].explain()


def test_nobody_edits_what_was_said(staff: Client) -> None:
    conversation = talk("one")
    assert staff.get(f"{LIST}add/").status_code == 403
    assert staff.get(f"{LIST}{conversation.pk}/delete/").status_code == 403
    assert staff.post(f"{LIST}{conversation.pk}/change/", {"title": "x"}).status_code == 405
    assert staff.post(LIST, {"action": "delete_selected", "_selected_action": str(conversation.pk)}).status_code in {
        200,
        302,
    }
    assert Conversation.objects.get().title == "one"


def test_staff_without_permission_see_neither_list_nor_transcript() -> None:
    conversation = talk("one")
    client = Client()
    client.force_login(User.objects.create(username="guest", is_staff=True))
    for path in (LIST, f"{LIST}{conversation.pk}/change/", f"{LIST}{conversation.pk}/message/0/"):
        assert client.get(path).status_code == 403
    assert "one" not in client.get("/admin/search/?s=one").content.decode()


def test_the_admin_orders_by_its_index_alone() -> None:
    assert ConversationAdmin.ordering == NEWEST
    assert ConversationAdmin.sortable_by == ()


@pytest.mark.parametrize("language", ["en", "ru"])
def test_the_badges_of_the_modes_have_their_colours_in_every_language(staff: Client, language: str) -> None:
    takeover.take_over(talk("by staff").pk, by="anna")
    assert "bg-orange-100" in staff.get(LIST, headers={"accept-language": language}).content.decode()


def test_the_way_back_to_the_list_keeps_its_search_and_filters(staff: Client) -> None:
    talk = sessions.open(7, title="Anna")[0].pk
    page = staff.get(f"/admin/conversations/conversation/{talk}/change/?_changelist_filters=q%3DAnna%26mode%3Dauto")
    assert 'href="/admin/conversations/conversation/?q=Anna&amp;mode=auto"' in page.content.decode()
    plain = staff.get(f"/admin/conversations/conversation/{talk}/change/").content.decode()
    assert 'href="/admin/conversations/conversation/"' in plain
