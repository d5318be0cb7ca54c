"""Every deed has exactly one entry and every entry its deed, whatever is done in whatever order."""

from __future__ import annotations

from collections import Counter
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection, transaction
from django.test import Client
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from agents import audit, proof
from agents.forgetting import Gone
from agents.models import AuditEntry
from agents.runtime import AgentBrokenError, Request
from config.models import QueuedTask
from config.queue import defer, staff
from conversations import buffering, corrections, erasure, keys, log, sessions, takeover, turns
from conversations.errors import NothingToRetryError
from conversations.isolation import acting_as
from conversations.log import ConversationNotFoundError
from conversations.models import (
    ApiKey,
    Conversation,
    Delivery,
    Message,
    MessageBuffer,
    MessageFate,
    Mode,
    Turn,
    TurnStatus,
)
from tests.conversing import agent, conversation, quiet, say

BY = "staff"


def recorded(**columns: object) -> list[str]:
    return list(AuditEntry.objects.filter(**columns).order_by("id").values_list("action", flat=True))


DEEDS = (
    "say",
    "clear",
    "close",
    "take_over",
    "hand_back",
    "reply",
    "flush",
    "clear_buffer",
    "retract",
    "key",
    "revoke",
)


# An order in which each of them has something to do.
EACH = (
    "say", "flush", "say", "clear_buffer", "say", "retract", "take_over", "hand_back", "reply", "clear", "key",
    "revoke", "close",
)  # fmt: skip


def do(deed: str, talk: UUID) -> str | None:  # noqa: PLR0911, PLR0912  one branch a deed
    """Do it, and say by what can be seen in the tables whether it was done."""
    before = Conversation.objects.get(pk=talk)
    buffered = MessageBuffer.objects.filter(conversation_id=talk).exists()
    match deed:
        case "say":
            if before.mode != Mode.CLOSED:
                say(talk, "a", "b")
            return None
        case "clear":
            return "conversation.clear" if log.clear(talk, by=BY) else None
        case "close":
            sessions.close(talk, by=BY)
            return "conversation.close" if before.mode != Mode.CLOSED else None
        case "take_over":
            takeover.take_over(talk, by=BY)
            return "conversation.take_over" if before.mode == Mode.AUTO else None
        case "hand_back":
            takeover.hand_back(talk, by=BY)
            return "conversation.hand_back" if before.mode == Mode.MANUAL else None
        case "reply":
            if before.mode == Mode.CLOSED:
                return None
            takeover.reply(talk, "hello", by=BY)
            return "conversation.reply"
        case "flush":
            buffering.flush_now(talk, 0, by=BY)
            return "buffer.flush" if buffered else None
        case "clear_buffer":
            return "buffer.clear" if buffering.clear_buffer(talk, by=BY) else None
        case "retract":
            found = Message.objects.visible().filter(conversation_id=talk, role="user").order_by("-id").first()
            if found is None:
                return None
            corrections.retract(talk, found.pk, by=BY)
            return "message.retract"
        case "key":
            keys.create("one", by=BY)
            return "key.create"
        case _:
            live = ApiKey.objects.filter(revoked=None).order_by("id").first()
            if live is None:
                return None
            keys.revoke(live.prefix, by=BY)
            return "key.revoke"


@pytest.mark.django_db
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=st.lists(st.tuples(st.sampled_from(DEEDS), st.sampled_from([True, True, False])), max_size=10))
@example(plan=[(deed, True) for deed in EACH])
def test_entries_are_the_deeds_that_were_done(plan: list[tuple[str, bool]]) -> None:
    """Some deeds are taken back by their caller's transaction: their entries go with them."""
    with transaction.atomic():
        talk = conversation()
        expected: Counter[str] = Counter()
        for deed, kept in plan:
            with transaction.atomic():
                done = do(deed, talk)
                if kept and done:
                    expected[done] += 1
                if not kept:
                    transaction.set_rollback(True)
        assert Counter(recorded(actor=BY)) == expected
        subjects = AuditEntry.objects.filter(subject_type="conversation").values_list("subject_id", flat=True)
        assert set(subjects) <= {str(talk)}
        replies = Message.objects.filter(conversation_id=talk, author=BY).values_list("id", flat=True)
        told = AuditEntry.objects.filter(action="conversation.reply").values_list("details__message", flat=True)
        assert {str(id_) for id_ in replies} == set(told)
        gone = ApiKey.objects.filter(revoked__isnull=False).values_list("prefix", flat=True)
        assert set(gone) == set(AuditEntry.objects.filter(action="key.revoke").values_list("subject_id", flat=True))
        transaction.set_rollback(True)


def broken(_request: Request) -> None:
    raise AgentBrokenError("no")


@pytest.mark.django_db
def test_a_failed_turn_tried_again_by_hand_is_on_record() -> None:
    talk = conversation()
    with agent(during=broken):
        say(talk, "a")
        quiet()
    failed = Turn.objects.get(conversation_id=talk, status=TurnStatus.FAILED)
    takeover.take_over(talk, by=BY)
    with pytest.raises(NothingToRetryError):  # staff have the conversation: the agent would answer beside them
        turns.retry(failed.pk, by=BY)
    takeover.hand_back(talk, by=BY)
    turns.retry(failed.pk, by=BY)
    assert recorded(subject_type="turn", subject_id=str(failed.pk)) == ["turn.retry"]


@pytest.mark.django_db
def test_tasks_retried_and_discarded_are_on_record() -> None:
    ids = [defer("bursts.flush", str(number), 0) for number in range(3)]
    QueuedTask.objects.filter(pk__in=ids).update(state="dead", error="gave up")
    assert staff.retry(ids[:1], by=BY) == (1, 0)
    assert staff.discard(ids, by=BY) == 2
    assert recorded(subject_type="task", subject_id=str(ids[0])) == ["task.retry"]
    assert recorded(subject_type="task") == ["task.retry", "task.discard", "task.discard"]


@pytest.mark.django_db
def test_a_key_that_is_replaced_names_its_successor() -> None:
    old, _token = keys.create("one", by=BY)
    new, _token = keys.rotate(old.prefix, by=BY)
    entry = AuditEntry.objects.get(action="key.rotate")
    assert (entry.subject_id, entry.details) == (old.prefix, {"successor": new.prefix})
    assert not AuditEntry.objects.filter(details__icontains="parley_").exists()


@pytest.mark.django_db
def test_logins_and_changed_rights_are_on_record() -> None:
    admin = User.objects.create_superuser("chief", password="correct horse")
    client = Client()
    client.post("/admin/login/", {"username": "chief", "password": "correct horse"})
    assert recorded(actor="chief") == ["staff.login"]
    added = {"username": "newcomer", "password1": "battery staple 9", "password2": "battery staple 9"}
    client.post("/admin/auth/user/add/", {**added, "usable_password": "true"})
    newcomer = User.objects.get(username="newcomer")
    client.post(f"/admin/auth/user/{newcomer.pk}/delete/", {"post": "yes"})
    assert recorded(actor="chief") == ["staff.login", "staff.add", "staff.delete"]
    assert recorded(subject_type="user", subject_id=str(admin.pk)) == ["staff.login"]
    assert "battery" not in str(list(AuditEntry.objects.values()))


@pytest.mark.django_db(transaction=True)
def test_a_users_own_call_leaves_a_record_it_cannot_read() -> None:
    with acting_as(7):
        audit.record("test.deed", "key:abc", ("thing", 1))
    with acting_as(7), connection.cursor() as cursor:
        cursor.execute(
            "SELECT has_table_privilege(current_user, 'audit_log', 'SELECT'),"
            " has_table_privilege(current_user, 'audit_chain', 'SELECT, INSERT')"
        )
        assert cursor.fetchone() == (False, False)
    assert recorded(actor="key:abc") == ["test.deed"]
    assert proof.verify().problems == []


# --- erasure ---


@pytest.mark.django_db
def test_erasing_takes_everything_and_leaves_a_record_without_words() -> None:
    talk, other = conversation(), conversation()
    with agent():
        for one in (talk, other):
            say(one, "my secret address")
        quiet()
    for one in (talk, other):
        say(one, "and more")
    gone = erasure.erase(talk, by=BY, reason="asked by the person")
    assert gone.messages == 3
    for model in (Message, Turn, MessageBuffer):
        assert not model.objects.filter(conversation_id=talk).exists()
        assert model.objects.filter(conversation_id=other).exists()
    for model in (MessageFate, Delivery):
        assert set(model.objects.values_list("message__conversation_id", flat=True)) == {other}
    entry = AuditEntry.objects.get(action="conversation.erase")
    assert (entry.actor, entry.subject_id) == (BY, str(talk))
    assert {key: entry.details[key] for key in ("messages", "turns", "reason")} == {
        "messages": 3, "turns": 1, "reason": "asked by the person",
    }  # fmt: skip
    assert len(entry.details["content_hash"]) == 64
    assert "secret" not in str(list(AuditEntry.objects.values()))
    with pytest.raises(ConversationNotFoundError):
        erasure.erase(talk, by=BY, reason="again")


@pytest.mark.django_db
def test_erasing_needs_a_reason_and_opens_no_door_behind_it() -> None:
    talk, other = conversation(), conversation()
    with pytest.raises(erasure.NoReasonError):
        erasure.erase(talk, by=BY, reason=" ")
    erasure.erase(talk, by=BY, reason="asked")
    with pytest.raises(Exception, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM conversations WHERE id = %s", [other])


@pytest.mark.django_db
def test_others_forget_in_the_same_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    talk = conversation()

    def fails(_conversations: object, _turns: object) -> Gone:
        raise RuntimeError("no")

    monkeypatch.setitem(erasure.FORGET, "notes", fails)
    with pytest.raises(RuntimeError):
        erasure.erase(talk, by=BY, reason="asked")
    assert Conversation.objects.filter(pk=talk).exists()
    assert recorded() == []
    monkeypatch.setitem(erasure.FORGET, "notes", lambda conversations, _turns: dict.fromkeys(conversations, 4))
    erasure.erase(talk, by=BY, reason="asked")
    assert AuditEntry.objects.get().details["notes"] == 4


@pytest.mark.django_db
def test_the_command_erases_all_of_a_user(capsys: pytest.CaptureFixture[str]) -> None:
    first = conversation()
    user = Conversation.objects.get(pk=first).user_id
    sessions.open(user)
    call_command("erase", user=user, reason="asked", yes=True)
    assert capsys.readouterr().out.count("0 messages") == 2
    assert not Conversation.objects.filter(user_id=user).exists()
    assert recorded() == ["conversation.erase"] * 2
