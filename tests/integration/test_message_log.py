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


def test_a_batch_is_stored_in_its_order_with_the_first_of_every_external_id(conversation: UUID) -> None:
    log.append(conversation, "user", "hi", external_id="a")
    batch = [
        {"role": "assistant", "content": "1", "metadata": {"n": 1}, "author": "ann"},
        {"role": "user", "content": "2", "external_id": "b"},
        {"role": "user", "content": "hi", "external_id": "a"},
        {"role": "user", "content": "2", "external_id": "b"},
        {"role": "user", "content": "3"},
    ]
    entries = log.append_many(conversation, batch)
    assert [(e.message_index, e.content, e.repeated) for e in entries] == [
        (1, "1", False),
        (2, "2", False),
        (0, "hi", True),
        (2, "2", True),
        (3, "3", False),
    ]
    assert (entries[0].metadata, entries[0].author) == ({"n": 1}, "ann")
    assert said(log.history(conversation)) == [(0, "hi"), (1, "1"), (2, "2"), (3, "3")]


def test_a_batch_is_stored_whole_or_not_at_all(conversation: UUID) -> None:
    log.append(conversation, "user", "hi", external_id="a")
    for bad, error in [
        ({"role": "user", "content": "other", "external_id": "a"}, log.ExternalIdTakenError),
        ({"role": "robot", "content": "x"}, log.MessageRefusedError),
        ({"role": "user"}, log.MessageRefusedError),
        ({"role": "user", "content": "\ud800"}, log.MessageRefusedError),
    ]:
        with pytest.raises(error), transaction.atomic():
            log.append_many(conversation, [{"role": "user", "content": "good"}, bad])
    assert said(log.history(conversation)) == [(0, "hi")]
    assert log.append_many(conversation, []) == []
    assert log.append(conversation, "user", "next").message_index == 1


@pytest.mark.parametrize(
    ("window", "indexes"),
    [
        ({}, range(10)),
        ({"limit": 3}, [7, 8, 9]),
        ({"limit": 3, "before_index": 5}, [2, 3, 4]),
        ({"limit": 3, "after_index": 5}, [6, 7, 8]),
        ({"limit": 9, "after_index": 5, "before_index": 8}, [6, 7]),
        ({"limit": 1, "after_index": -1}, [0]),
        ({"after_index": 9}, []),
        ({"before_index": 0}, []),
        ({"limit": 0}, []),
        ({"limit": 100, "after_index": 2**31}, []),
        ({"limit": 100, "before_index": 2**62}, range(10)),
    ],
)
def test_a_page_is_a_window_of_indexes(conversation: UUID, window: dict[str, int], indexes: Any) -> None:
    log.append_many(conversation, [{"role": "user", "content": str(n)} for n in range(10)])
    assert [entry.message_index for entry in log.history(conversation, **window)] == list(indexes)


@pytest.mark.parametrize("window", [{"limit": -1}, {"limit": 2**40}, {"after_index": 2**70}])
def test_a_page_that_cannot_be_is_refused_in_words_of_the_log(conversation: UUID, window: dict[str, int]) -> None:
    with pytest.raises(log.LogError, match="below zero, or beyond"), transaction.atomic():
        log.history(conversation, **window)
    assert log.history(conversation) == []


def test_what_is_no_id_names_no_conversation() -> None:
    with pytest.raises(log.ConversationNotFoundError, match="no conversation nobody"), transaction.atomic():
        log.history("nobody")  # type: ignore[arg-type]  as callers without types do


def test_pages_are_full_however_many_messages_were_deleted(conversation: UUID) -> None:
    log.append_many(conversation, [{"role": "user", "content": str(n)} for n in range(40)])
    Message.objects.filter(conversation=conversation, message_index__in=[*range(3, 30), 39]).update(
        deleted_at="2026-01-01T00:00:00Z"
    )
    pages = {
        "newest": log.history(conversation, limit=10),
        "before": log.history(conversation, limit=2, before_index=31),
        "after": log.history(conversation, limit=3, after_index=1),
        "all": log.history(conversation, limit=3, after_index=1, include_deleted=True),
    }
    assert {name: [entry.message_index for entry in page] for name, page in pages.items()} == {
        "newest": [2, *range(30, 39)][-10:],
        "before": [2, 30],
        "after": [2, 30, 31],
        "all": [2, 3, 4],
    }
    assert log.count(conversation) == 12


def test_clearing_hides_everything_and_numbering_goes_on(conversation: UUID) -> None:
    log.append(conversation, "user", "a")
    log.append(conversation, "user", "b")
    assert log.clear(conversation, by="ann") == 2
    assert log.clear(conversation, by="ann") == 0
    assert (log.history(conversation), log.count(conversation)) == ([], 0)
    assert log.append(conversation, "user", "c").message_index == 2
    assert said(log.history(conversation)) == [(2, "c")]
    everything = log.history(conversation, include_deleted=True)
    assert said(everything) == [(0, "a"), (1, "b"), (2, "c")]
    assert [entry.deleted_at is None for entry in everything] == [False, False, True]
    stored = sessions.get(conversation)
    assert (stored.message_count, stored.deleted_count, stored.visible_count) == (3, 2, 1)
    with pytest.raises(log.ConversationNotFoundError):
        log.clear(NOWHERE, by="ann")


def test_a_whole_list_appends_what_is_new(conversation: UUID) -> None:
    told = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert said(log.save_session(conversation, told)) == [(0, "a"), (1, "b")]
    assert log.save_session(conversation, told) == []
    assert said(log.save_session(conversation, [*told, {"role": "user", "content": "c"}])) == [(2, "c")]


def test_two_tabs_cannot_overwrite_each_other(conversation: UUID) -> None:
    start = [{"role": "user", "content": "a"}]
    log.save_session(conversation, start)
    log.save_session(conversation, [*start, {"role": "user", "content": "from tab one"}])
    for stale in ([*start, {"role": "user", "content": "from tab two"}], start, []):
        with pytest.raises(log.HistoryConflictError):
            log.save_session(conversation, stale)
    assert said(log.history(conversation)) == [(0, "a"), (1, "from tab one")]


def test_the_counter_and_the_last_time_move_with_every_message(conversation: UUID) -> None:
    before = sessions.get(conversation)
    entry = log.append(conversation, "user", "a")
    after = sessions.get(conversation)
    assert (before.message_count, before.last_message_at) == (0, None)
    assert (after.message_count, after.last_message_at) == (1, entry.created_at)
    assert after.updated_at > before.updated_at


def test_one_live_conversation_per_chat() -> None:
    first, created = sessions.open(1, chat_id=5, channel="telegram", title="t", metadata={"a": 1})
    assert created
    assert (first.title, first.metadata, first.mode) == ("t", {"a": 1}, "auto")
    assert sessions.open(1, chat_id=5, channel="telegram") == (first, False)
    for other in ({"channel": "console"}, {"channel": "telegram", "user_id": 2}):
        assert sessions.open(**{"user_id": 1, "chat_id": 5, **other})[1]
    assert sessions.open(1)[0] != sessions.open(1)[0]
    assert sessions.close(first.pk, by="ann")
    assert not sessions.close(first.pk, by="ann")
    again, created = sessions.open(1, chat_id=5, channel="telegram")
    assert created
    assert again != first
    with pytest.raises(log.ConversationNotFoundError):
        sessions.get(NOWHERE)


def test_a_saved_list_keeps_the_times_and_ids_of_its_messages(conversation: UUID) -> None:
    given = {"role": "user", "content": "a", "id": "m1", "timestamp": "2024-01-01T10:00:00Z", "metadata": {"b": 1}}
    [entry] = log.save_session(conversation, [given])
    assert entry.metadata == {"id": "m1", "timestamp": "2024-01-01T10:00:00Z", "b": 1}
    assert log.save_session(conversation, [given]) == []
