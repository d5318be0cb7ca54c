"""Did we miss anything? A number, and what to do about it."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from config import doctor
from conversations import corrections, log, reconcile, takeover
from conversations.models import Conversation, Fate, Message, MessageFate, Mode
from tests.conversing import agent, conversation, fates, quiet, replies, say

pytestmark = pytest.mark.django_db


def lose(chat: object, *tables: str) -> None:
    """What a bug might do: take the rows away that say where a message is."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")  # as if the table had no triggers
        for table in tables:
            cursor.execute(f"DELETE FROM {table}")
        cursor.execute("SET LOCAL session_replication_role = origin")


def run(*arguments: str) -> tuple[int, str]:
    output = StringIO()
    try:
        call_command("reconcile", *arguments, stdout=output)
    except SystemExit as ended:
        return int(str(ended.code)), output.getvalue()
    return 0, output.getvalue()


def without_fate(client: Client) -> float:
    text = client.get("/metrics").content.decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert families["parley_up"].samples[0].value == 1
    return families["parley_messages_without_fate"].samples[0].value


def test_every_state_a_message_can_be_in_is_accounted_for(client: Client) -> None:
    with agent() as asked:
        answered, left, cleared, waiting = (conversation() for _ in range(4))
        say(answered, "one", "/start")
        quiet()
        takeover.take_over(left, by="anna")
        say(left, "two")
        say(cleared, "three")
        log.clear(cleared, by="user")
        first, _ = say(waiting, "four", "fivve")
        corrections.correct(waiting, first.entry.id, "4")
        asked.during = lambda _request: say(answered, "more")  # type: ignore[assignment, return-value]
        say(answered, "again")
    account = reconcile.account()
    assert account.by_fate == {"answered": 1, "skipped": 1, "staff": 1, "cleared": 1, "waiting": 4}
    code, said = run()
    assert code == 0
    assert "Every message has exactly one fate" in said
    assert without_fate(client) == 0


def test_a_burst_carrying_a_stale_turn_waits_with_all_its_messages(client: Client) -> None:
    chat = conversation()
    with agent(during=lambda _request: say(chat, "more")):
        say(chat, "first")
        quiet()
    assert reconcile.account().by_fate == {"waiting": 2}
    assert without_fate(client) == 0


def test_a_lost_burst_is_found_and_answered(client: Client) -> None:
    chat = conversation()
    with agent() as asked:
        say(chat, "are you there?")
        lose(chat, "message_buffers")
        assert without_fate(client) == 1
        code, said = run()
        assert code == 1
        assert f"conversation {chat} message 0" in said
        code, said = run("--repair")
        assert code == 0
        assert "to be answered" in said
        quiet(0)
    assert asked.bursts == [["are you there?"]]
    assert fates(chat) == {0: Fate.ANSWERED}
    assert run("--repair")[0] == 0


@pytest.mark.parametrize(
    ("damage", "becomes"),
    [("answered", Fate.ANSWERED), ("deleted", Fate.CLEARED), ("manual", Fate.STAFF), ("spoken", Fate.SKIPPED)],
)
def test_a_lost_fate_is_read_off_the_rows_that_are_left(damage: str, becomes: Fate) -> None:
    chat = conversation()
    with agent():
        (only,) = say(chat, "hello")
        if damage == "answered":
            quiet()
        else:
            lose(chat, "message_buffers")
    if damage == "deleted":
        Message.objects.filter(pk=only.entry.id).update(deleted_at="2026-01-01T00:00:00Z")
    if damage == "manual":
        Conversation.objects.filter(pk=chat).update(mode=Mode.MANUAL)
    if damage == "spoken":
        log.append(chat, "assistant", "something else")
    lose(chat, "message_fates")
    assert run("--repair")[0] == 0
    assert fates(chat) == {0: becomes}
    assert len(replies(chat)) <= 1


def test_a_fate_of_a_message_that_still_waits_is_a_contradiction() -> None:
    chat = conversation()
    (only,) = say(chat, "hello")
    MessageFate.objects.create(message_id=only.entry.id, fate=Fate.STAFF)
    code, said = run()
    assert code == 1
    assert "1 messages have a fate and still wait" in said


def test_the_doctor_tells_of_a_forgotten_message_and_what_to_do() -> None:
    with agent():
        say(conversation(), "hello")
        assert reconcile.forgotten().ok
        assert reconcile.forgotten in doctor.THERE
        lose(None, "message_buffers")
        found = reconcile.forgotten()
        assert (found.ok, found.detail.rpartition(" ")[2]) == (False, "1")
        assert "--repair" in found.fix
