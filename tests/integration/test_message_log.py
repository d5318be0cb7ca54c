"""What the log promises to one caller at a time; races and crashes are in test_log_under_fire.py."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from django.db import transaction

from conversations import log, sessions
from conversations.models import Message

pytestmark = pytest.mark.django_db

NOWHERE = UUID(int=7)


@pytest.fixture
def conversation() -> UUID:
    return sessions.open(1)[0].pk


def said(entries: list[log.Entry]) -> list[tuple[int, str]]:
    return [(entry.message_index, entry.content) for entry in entries]


def test_messages_are_numbered_from_zero_in_the_order_they_came(conversation: UUID) -> None:
    entries = [log.append(conversation, role, role) for role in ("system", "user", "tool", "assistant")]
    assert [entry.message_index for entry in entries] == [0, 1, 2, 3]
    assert log.history(conversation) == entries
    assert log.count(conversation) == 4


def test_everything_given_comes_back(conversation: UUID) -> None:
    turn = UUID(int=9)
    entry = log.append(
        conversation,
        "assistant",
        "Привет 👋",
        metadata={"a": [1, None]},
        external_id="tg:1",
        author="ann",
        inbound=True,
        turn_id=turn,
        agent_version=3,
    )
    assert (entry.content, entry.character_count, entry.metadata) == ("Привет 👋", 8, {"a": [1, None]})
    assert (entry.external_id, entry.author, entry.inbound, entry.turn_id) == ("tg:1", "ann", True, turn)
    assert log.history(conversation) == [entry]
    row = Message.objects.get()
    assert (row.pk, row.agent_version, row.created_at, row.deleted_at) == (entry.id, 3, entry.created_at, None)


def test_a_repeated_external_id_returns_the_first_row(conversation: UUID) -> None:
    first = log.append(conversation, "user", "hi", external_id="a", metadata={"try": 1})
    log.append(conversation, "user", "more")
    again = log.append(conversation, "user", "hi", external_id="a", metadata={"try": 2})
    assert again.repeated
    assert not first.repeated
    assert (again.id, again.message_index, again.metadata) == (first.id, 0, {"try": 1})
    assert log.count(conversation) == 2


@pytest.mark.parametrize(("role", "content"), [("user", "other"), ("assistant", "hi"), ("user", "hi ")])
def test_another_message_under_a_known_external_id_is_a_conflict(conversation: UUID, role: str, content: str) -> None:
    log.append(conversation, "user", "hi", external_id="a")
    with pytest.raises(log.ExternalIdTakenError):
        log.append(conversation, role, content, external_id="a")


def test_the_same_external_id_in_two_conversations_is_two_messages(conversation: UUID) -> None:
    other = sessions.open(1)[0].pk
    assert (
        log.append(conversation, "user", "a", external_id="1").id != log.append(other, "user", "b", external_id="1").id
    )


def test_a_message_needs_its_conversation() -> None:
    with pytest.raises(log.ConversationNotFoundError):
        log.append(NOWHERE, "user", "hi")


def test_nothing_is_read_from_a_conversation_that_is_not_there() -> None:
    assert log.history(NOWHERE) == []
    assert log.count(NOWHERE) == 0


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"role": "robot"}, "role"),
        ({"content": None}, "content"),
        ({"content": "a\0b"}, "character"),
        ({"content": "\ud800"}, "character"),
        ({"metadata": {"a": "\0"}}, "character"),
        ({"metadata": {"a": "\ud800"}}, "character"),
        ({"metadata": {"a": float("nan")}}, "character"),
        ({"metadata": [1]}, "metadata"),
        ({"external_id": ""}, "external_id"),
        ({"external_id": "x" * 256}, "too long"),
        ({"author": "x" * 151}, "too long"),
    ],
)
def test_what_cannot_be_stored_is_refused_and_the_log_goes_on(
    conversation: UUID, values: dict[str, Any], reason: str
) -> None:
    log.append(conversation, "user", "before")
    message = {"role": "user", "content": "x", **values}
    with pytest.raises(log.MessageRefusedError, match=reason) as refused, transaction.atomic():
        log.append(conversation, **message)
    assert refused.value.permanent
    assert log.append(conversation, "user", "after").message_index == 1
