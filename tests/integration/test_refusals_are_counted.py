"""A message that was not stored is counted once, by its reason, whoever brought it and in whosever transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection, transaction
from django.test import Client
from django.urls import reverse

from agents import registry
from conversations import buffering, corrections, keys, log, sessions, takeover, tally
from conversations.channels import Order
from conversations.channels.console import updates as console
from conversations.channels.telegram import updates as telegram
from conversations.models import Conversation, Message, Mode, Tally
from tests.api import Caller, refused
from tests.conversing import conversation
from tests.fake_telegram import BOT_ID, update

pytestmark = pytest.mark.django_db(transaction=True)
Verb = Callable[[UUID], object]

VERBS: list[tuple[Verb, str]] = [
    (lambda chat: buffering.receive(chat, "\u200b"), "blank"),
    (lambda chat: buffering.receive(chat, "a\0b"), "invalid_value"),
    (lambda chat: buffering.receive(chat, "/start", external_id="x" * 256), "invalid_value"),
    (lambda chat: log.append(chat, "nobody", "hi"), "invalid_value"),
    (lambda chat: log.append_many(chat, [{"role": "user", "content": "a\0b"}]), "invalid_value"),
    (lambda chat: log.append(chat, "assistant", "another", external_id="first"), "external_id_taken"),
    (lambda chat: log.save_session(chat, []), "history_conflict"),
    (lambda chat: takeover.reply(chat, "a\0b", by="anna"), "invalid_value"),
    (lambda chat: corrections.correct(chat, Message.objects.get().pk, " "), "blank"),
]


def counted() -> dict[str, int]:
    """By reason."""
    found = Tally.objects.filter(name__startswith=tally.REFUSED).values_list("name", "count")
    return {name.removeprefix(tally.REFUSED): count for name, count in found}


def closed(chat: UUID) -> None:
    Conversation.objects.filter(pk=chat).update(mode=Mode.CLOSED)


@pytest.fixture
def chat() -> UUID:
    found = conversation()
    log.append(found, "user", "first", external_id="first")
    return found


def test_a_verb_counts_what_it_refuses(chat: UUID) -> None:
    for verb, code in VERBS:
        before = counted().get(code, 0)
        with pytest.raises(tally.RefusedError):
            verb(chat)
        assert counted()[code] == before + 1
    assert sum(counted().values()) == len(VERBS)


def test_a_closed_conversation_counts_what_comes_late(chat: UUID) -> None:
    closed(chat)
    for verb in (partial(buffering.receive, content="hi"), partial(takeover.reply, content="hi", by="anna")):
        with pytest.raises(tally.RefusedError):
            verb(chat)
    assert counted() == {"session_closed": 2}


def test_a_transaction_that_goes_on_counts_it_when_it_commits(chat: UUID) -> None:
    with transaction.atomic():
        with pytest.raises(tally.RefusedError):
            buffering.receive(chat, " ")
        log.append(chat, "user", "and on")
        assert counted() == {}
    assert counted() == {"blank": 1}


def test_a_transaction_that_ends_with_it_leaves_it_to_its_owner(chat: UUID) -> None:
    with pytest.raises(tally.RefusedError) as caught, transaction.atomic():
        buffering.receive(chat, " ")
    assert counted() == {}
    for _ in range(3):
        tally.refused(caught.value)
    assert counted() == {"blank": 1}


def test_what_is_stored_is_not_there_or_is_asked_wrongly_is_no_refused_message(chat: UUID) -> None:
    log.append(chat, "user", "first", external_id="first")
    buffering.receive(chat, "good")
    for verb in (partial(log.append, role="user", content="hi"), partial(buffering.receive, content="hi")):
        with pytest.raises(log.ConversationNotFoundError):
            verb(UUID(int=7))
    with pytest.raises(log.LogError):
        log.history(chat, limit=-1)
    assert counted() == {}


@pytest.mark.parametrize("user_id", [None, 1])
def test_the_api_counts_once_what_a_verb_refused_and_what_never_reached_one(user_id: int | None) -> None:
    caller = Caller(user_id=user_id)
    session = caller.session()
    caller.append(session, "first", external_id="first")
    for body in ({"content": "\u2800"}, {"content": "x", "extra": 1}, b"{", {"content": "x" * 1_048_577}):
        assert caller.call("POST", f"/sessions/{session}/inbound", body).status_code in {400, 413}
    assert caller.append(session, "another", external_id="first").status_code == 409
    closed(UUID(session))
    assert caller.call("POST", f"/sessions/{session}/inbound", {"content": "late"}).status_code == 409
    expected = {"blank", "unknown_field", "invalid_json", "too_long", "external_id_taken", "session_closed"}
    assert counted() == dict.fromkeys(expected, 1)


def test_a_bot_of_telegram_counts_once() -> None:
    assert telegram.take(update(1, text="\u200b \u2060"), bot_id=BOT_ID) == "blank"
    assert counted() == {"blank": 1}
    assert telegram.take(update(1, text="\u200b \u2060"), bot_id=BOT_ID) == "repeated"
    assert counted() == {"blank": 1}


def test_a_closed_chat_of_telegram_that_opens_anew_refuses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    telegram.take(update(1, text="hi"), bot_id=BOT_ID)
    before = Conversation.objects.get()
    closed(before.pk)
    opens = sessions.open
    answers: list[Any] = [(before, False)]
    monkeypatch.setattr(sessions, "open", lambda *args, **more: answers.pop() if answers else opens(*args, **more))
    assert telegram.take(update(2, text="again"), bot_id=BOT_ID) == "message"
    assert counted() == {}


def test_the_terminal_counts_once() -> None:
    with pytest.raises(tally.RefusedError):
        console.take(Order("console", None, user_id=7), console.written("  "))
    assert counted() == {"blank": 1}


def test_pages_of_staff_count_once(admin_user: User, admin_client: Client) -> None:
    registry.sync(by="test")
    played, _new = sessions.open(-admin_user.pk, channel="web", agent_id=registry.find("relocation").pk)
    for name in ("say", "reply"):
        for text in ("", " ", "a\0b", "x" * 32_001):
            admin_client.post(reverse(f"admin:conversations_conversation_{name}", args=[played.pk]), {"content": text})
    assert counted() == {"blank": 4, "invalid_value": 2, "too_long": 2}


def failed() -> dict[str, int]:
    """Calls that brought a message and failed, by reason."""
    found = Tally.objects.filter(name__startswith=tally.FAILED).values_list("name", "count")
    return {name.removeprefix(tally.FAILED): count for name, count in found}


@contextmanager
def locked(session: str) -> Iterator[None]:
    """Somebody holds the conversation for longer than a statement of this process waits."""
    with closing(connection.copy()) as other:
        other.set_autocommit(False)
        other.cursor().execute("SELECT 1 FROM conversations WHERE id = %s FOR UPDATE", [session])
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '50ms'")
        yield
        other.rollback()
    with connection.cursor() as cursor:
        cursor.execute("RESET lock_timeout")


@pytest.mark.parametrize("user_id", [None, 1])
def test_a_conversation_that_is_locked_for_too_long_is_told_as_busy_and_counted(user_id: int | None) -> None:
    caller = Caller(user_id=user_id)
    session = caller.session()
    with locked(session):
        for response in (
            caller.append(session, "hi"),
            caller.call("POST", f"/sessions/{session}/inbound", {"content": "hi"}),
        ):
            assert refused(response, 503, "busy")
            assert int(response.headers["Retry-After"]) > 0
    assert failed() == {"busy": 2}
    assert caller.append(session, "hi").status_code == 201
    assert failed() == {"busy": 2}
    assert b'parley_counted_total{what="failed_busy"} 2.0' in Client().get("/metrics").content


def test_a_mistake_of_ours_fails_a_message_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: Any, **_options: Any) -> None:
        raise RuntimeError("broken")

    caller = Caller()
    session = caller.session()
    monkeypatch.setattr(log, "append", broken)
    assert caller.append(session, "hi").status_code == 500
    assert failed() == {"internal_error": 1}


def test_what_failed_while_the_database_was_away_is_counted_when_it_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_args: Any, **_options: Any) -> None:
        raise OperationalError("the database is away")

    caller = Caller()
    session = caller.session()
    with monkeypatch.context() as outage:
        outage.setattr(tally, "count", away)
        outage.setattr(keys, "authenticate", away)
        for _ in range(3):
            assert refused(caller.append(session, "hi"), 503, "database_unavailable")
    assert failed() == {}
    assert caller.read(session).status_code == 200
    assert failed() == {"database_unavailable": 3}
    assert caller.append(session, "hi").status_code == 201
    assert failed() == {"database_unavailable": 3}


@contextmanager
def undone() -> Iterator[None]:
    """A transaction that is rolled back at its end, and columns with it."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


@pytest.mark.parametrize("table", ["message_buffers", "messages"])
def test_a_column_that_nobody_fills_is_a_mistake_of_ours_and_no_bad_message(
    table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tally, "_unwritten", Counter())  # the transaction takes what is counted with it
    caller = Caller()
    session = caller.session()
    with undone():
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {table} ADD COLUMN nobody integer NOT NULL")
        if table == "messages":
            response = caller.append(session, "hi")
        else:
            response = caller.call("POST", f"/sessions/{session}/inbound", {"content": "hi"})
        assert refused(response, 500, "internal_error")
    assert counted() == {}
