"""The figures of the start page: what rows hold, to whom it may be told, and what is wrong; never a broken page."""

from __future__ import annotations

import html
from typing import Any
from unittest.mock import patch

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.http import HttpRequest
from django.test import Client, RequestFactory
from django.utils import timezone

from config import dashboard, figures
from config.figures import Figure, Shown, Told
from conversations import figures as told_of
from conversations import log, sessions, takeover
from tests.api import Caller

pytestmark = pytest.mark.django_db


def asking(user: User) -> HttpRequest:
    request = RequestFactory().get("/admin/")
    request.user = user
    return request


def boss() -> HttpRequest:
    return asking(User(username="boss", is_superuser=True, is_active=True))


def told() -> dict[str, Told]:
    return {one.figure.name: one.told for one in figures.shown(boss()) if one.told}


def sql(statement: str, *values: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description else None


def said(hours_ago: float, times: int = 1) -> None:
    """People said something then: ids tell when."""
    chat = sessions.open(7)[0].pk
    sql(
        "INSERT INTO messages (id, conversation_id, role, content, inbound)"
        " SELECT uuidv7(-%s * interval '1 hour'), %s, 'user', 'hi', true FROM generate_series(1, %s)",
        hours_ago, chat, times,
    )  # fmt: skip


def turn(status: str = "done", hours_ago: float = 0.1, took: float = 2.0) -> None:
    chat = sessions.open(7)[0].pk
    sql(
        "INSERT INTO turns (conversation_id, interview_step, flush_id, trigger, input, status, waited_ms, input_tokens,"
        " output_tokens, created_at, due_at, started_at, finished_at)"
        " SELECT %s, 0, gen_random_uuid()::text, 'debounce', '[{}, {}]', %s, 4000, 1000, 10, at, at, at,"
        " at + %s * interval '1 second' FROM (SELECT clock_timestamp() - %s * interval '1 hour' AS at) AS once",
        chat, status, took, hours_ago,
    )  # fmt: skip


def test_a_new_installation_sees_nothing_wrong_and_where_to_begin(staff: Client) -> None:
    page = staff.get("/admin/").content.decode()
    assert "Write to an agent yourself in the playground." in page
    assert {name for name, one in told().items() if one.alert} <= {"workers"}


def test_figures_tell_what_the_rows_hold() -> None:
    said(0.5, 3)
    said(5, 4)
    said(25)
    for took in (1, 2, 30):
        turn(took=took)
    turn("failed", hours_ago=3)
    turn("failed", hours_ago=30)
    found = told()
    assert (found["messages"].value, found["messages"].note) == ("3", "7 in 24 hours")
    assert (found["failed"].value, found["failed"].note, found["failed"].alert) == ("1", "of 4", "")
    assert found["latency"] == Told("2.0 s", "after listening; 95 % within 27 s")
    assert found["listened"] == Told("4.0 s", "messages in a burst: 2.0")
    assert found["tokens"] == Told("4,040", "read: 4,000, written: 40")
    assert found["active"].value == "3"
    assert found["forgotten"].value == "7"
    assert "manage.py reconcile" in found["forgotten"].alert
    assert found["miscounted"] == Told("0", "among the 200 latest conversations")


def test_what_needs_somebody_is_an_alert_with_its_link(staff: Client) -> None:
    turn("failed")
    page = html.unescape(staff.get("/admin/").content.decode())
    assert '<a id="alert-failed" href="/admin/conversations/turn/?status__exact=failed">1 turn failed' in page
    assert "Nothing needs you." not in page


def test_people_who_wait_for_staff_are_an_alert_until_they_are_answered() -> None:
    talk = sessions.open(7)[0].pk
    log.append(talk, "user", "is anybody there?")
    assert not told()["staffed"].alert
    takeover.take_over(talk, by="anna")
    assert (told()["staffed"].value, told()["staffed"].alert[:28]) == ("1", "1 person waits for staff, th")
    takeover.reply(talk, "I am", by="anna")
    assert (told()["staffed"].value, told()["staffed"].alert) == ("0", "")


def test_an_answer_whose_next_attempt_is_put_off_again_and_again_is_late_all_the_same() -> None:
    talk = sessions.open(7, channel="telegram", chat_id=7)[0].pk
    takeover.take_over(talk, by="anna")
    takeover.reply(talk, "hello", by="anna")
    assert not told()["unsent"].alert
    sql("UPDATE deliveries SET created_at = now() - interval '18 minutes', next_attempt_at = now() + interval '1 min'")
    assert told()["unsent"].alert.startswith("An answer has waited 18 min to be sent")


def test_a_count_that_somebody_changed_behind_the_rules_is_told() -> None:
    log.append(sessions.open(1)[0].pk, "user", "hi")
    sql("SET LOCAL session_replication_role = replica")
    sql("UPDATE conversations SET message_count = 5")
    assert told()["miscounted"].value == "1"
    assert told()["miscounted"].alert


@pytest.mark.parametrize(
    ("hour", "day", "alarming"),
    [(0, 0, False), (40, 40, False), (60, 60, True), (60, 2_000, False), (600, 2_000, True), (0, 2_000, True),
     (0, 100, False), (1, 2_000, False)],
)  # fmt: skip
def test_a_spike_and_a_silence_are_told_by_what_is_usual(hour: int, day: int, alarming: bool) -> None:
    assert bool(told_of.messages(hour, day).alert) is alarming


def test_every_figure_leads_to_a_list_that_opens(staff: Client) -> None:
    for one in figures.shown(boss()):
        if one.url:
            assert staff.get(one.url).status_code == 200, one.url


def test_somebody_sees_the_figures_of_what_they_may_see_and_no_others() -> None:
    guest = User.objects.create_user("guest", is_staff=True)
    assert dashboard.overview(asking(guest))["groups"] == []
    assert dashboard.overview(asking(guest))["charts"] == []
    guest.user_permissions.add(Permission.objects.get(codename="view_turn"))
    found = dashboard.overview(asking(User.objects.get(pk=guest.pk)))
    permissions = {one.figure.permission for group in found["groups"] for one in group["shown"]}
    assert permissions == {"conversations.view_turn"}
    assert len(found["charts"]) == 1


def broken(query: str) -> Figure:
    def trouble() -> Told:
        return Told("never told")

    return Figure("Broken", query, trouble, "Group", "conversations.view_turn")


@pytest.mark.parametrize("query", ["SELECT 1 / 0", "SELECT * FROM no_such_table", "SELECT pg_sleep(20)"])
def test_a_figure_that_cannot_be_asked_says_so_and_takes_no_other_along(staff: Client, query: str) -> None:
    turn()
    with (
        patch.object(figures, "PATIENCE", 200),
        patch.object(figures, "FIGURES", [broken(query), *figures.FIGURES]),
        patch.object(figures, "CHARTS", [figures.CHARTS[0], figures.Chart("Bars", ("a", "b"), query,
                                         "conversations.view_turn", "", "admin:index")]),
    ):  # fmt: skip
        page = staff.get("/admin/").content.decode()
        assert page.count("could not be asked; see the log") == 2
        assert "never told" not in page
        assert told()["tokens"].value == "1,010"
    [[after]] = sql("SHOW statement_timeout")
    assert after != "200ms"


def test_hours_hold_what_was_said_in_them_in_any_zone() -> None:
    for hours_ago in (0, 1, 5, 22.4):
        said(hours_ago)
    said(30)
    for zone in ("UTC", "Asia/Kolkata", "America/St_Johns"):
        with timezone.override(zone):
            hours = figures.hours(figures.CHARTS[0])
            assert hours
            assert len(hours) == 24
            assert {hour.begins.minute for hour in hours} == {0}
            assert hours[-1].begins <= timezone.localtime()
            assert sum(hour.numbers[0] for hour in hours) == 4
            for hours_ago in (0, 1, 5):
                assert hours[-1 - hours_ago].numbers[0] == 1


def test_the_page_refreshes_its_figures_alone_and_nobody_logged_out_sees_any(staff: Client) -> None:
    turn()
    part = staff.get("/admin/overview/").content.decode()
    assert "Turns running" in part
    assert "<html" not in part
    answer = Client().get("/admin/overview/")
    assert (answer.status_code, answer.content, answer.headers["HX-Refresh"]) == (204, b"", "true")


def test_what_the_api_refuses_is_counted_by_its_reason(transactional_db: None) -> None:
    caller = Caller()
    session = caller.session()
    assert caller.append(session, "first", external_id="a").status_code == 201
    assert caller.append(session, "second", external_id="a").status_code == 409
    assert caller.append(session, "a\0b").status_code == 400
    assert caller.append(session, "x", unknown=1).status_code == 400
    with patch.object(log, "append", side_effect=RuntimeError):
        assert caller.append(session, "third").status_code == 500
    found = told()
    assert found["refused"].value == "3"
    assert "external_id_taken: 1" in found["refused"].alert
    assert found["mistakes"].value == "1"
    assert caller.append(session, "fourth").status_code == 201


def test_a_reason_is_text_and_no_markup(staff: Client) -> None:
    sql("INSERT INTO tallies (name, hour, count) VALUES ('refused_<b>x</b>', date_trunc('hour', now()), 3)")
    page = staff.get("/admin/").content.decode()
    assert "&lt;b&gt;x&lt;/b&gt;: 3" in page
    assert "<b>x</b>" not in page


def test_groups_stand_in_the_order_of_the_menu() -> None:
    rooms = [one.figure.room for group in dashboard.overview(boss())["groups"] for one in group["shown"]]
    assert list(dict.fromkeys(rooms)) == ["conversations", "agents", "search", "config"]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, "–"), (0, "0.0 s"), (9.94, "9.9 s"), (12, "12 s"), (119, "119 s"), (600, "10 min"), (7_200, "2 h"),
     (1e6, "12 d")],
)  # fmt: skip
def test_spans_are_told_as_people_do(seconds: float | None, shown: str) -> None:
    assert figures.span(seconds) == shown


def test_a_figure_is_asked_by_few_statements(staff: Client, django_assert_max_num_queries: Any) -> None:
    with django_assert_max_num_queries(4 * len(figures.FIGURES) + 30):
        staff.get("/admin/overview/")
    assert isinstance(figures.shown(boss())[0], Shown)


def test_texts_that_wait_a_minute_to_be_found_and_those_given_up_raise_an_alert() -> None:
    said(0)
    assert (told()["pending"].value, told()["pending"].alert) == ("1", "")
    sql("UPDATE search_pending SET created_at = created_at - interval '2 minutes'")
    assert "cannot be found yet" in told()["pending"].alert
    sql("UPDATE search_pending SET attempts = 3")
    assert "given up" in told()["pending"].alert
    sql("DELETE FROM search_pending")
    assert told()["pending"] == Told("0", "everything is indexed", "")
