"""The message log: what is said is appended once, numbered by the database, and never changed.

Reads and writes go past the models on purpose: one statement each, plain results. The rules are in the database
(migration 0002), where SQL clients meet the same ones.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
import structlog
from django.core.serializers.json import DjangoJSONEncoder
from django.db import DataError, IntegrityError, connection, transaction
from django.db.backends.utils import CursorWrapper

from agents import audit
from config.columns import readable
from config.statements import ask
from conversations import unanswered
from conversations.models import Fate
from conversations.tally import RefusedError, counts_refusals

log = structlog.get_logger(__name__)

Json = Mapping[str, Any]
COLUMNS = frozenset({"role", "content", "metadata", "external_id", "author"})  # of a message in a list
encode = json.JSONEncoder(default=DjangoJSONEncoder().default).encode  # made once: json.dumps makes one per call

APPEND = """
SELECT id, message_index, character_count, metadata, author, created_at, deleted_at, repeated
FROM append_message(%s, %s, %s, %s::jsonb, %s, %s, %s, %s, %s::integer)
"""
APPEND_MANY = """
SELECT id, message_index, role, content, character_count, metadata, author, created_at, deleted_at, repeated
FROM append_messages(%s, %s::jsonb)
"""
HISTORY = """
SELECT id, message_index, role, content, character_count, metadata, external_id, inbound, author, turn_id,
    agent_version, created_at, deleted_at
FROM get_session_messages(%s, %s::integer, %s::bigint, %s::bigint, %s)
"""
UNSTORABLE = "The message holds a character or number that cannot be stored."
REFUSALS = (IntegrityError, DataError, UnicodeEncodeError)


class LogError(RefusedError):
    """The log refused something."""

    permanent = True  # the same call would be refused again


class ConversationNotFoundError(LogError):
    """There is no such conversation, or the caller may not see it."""


class MessageRefusedError(LogError):
    """The message breaks a rule of the log."""

    code = "invalid_value"


class ExternalIdTakenError(LogError):
    """The external id already names another message of the conversation."""

    code = "external_id_taken"


class HistoryConflictError(LogError):
    """The list does not begin with what is already stored."""

    code = "history_conflict"


class Entry(NamedTuple):
    """One message as it is stored."""

    id: UUID
    conversation_id: UUID
    message_index: int
    role: str
    content: str
    character_count: int
    metadata: dict[str, Any]
    external_id: str | None
    inbound: bool
    author: str
    turn_id: UUID | None
    agent_version: int | None
    created_at: datetime
    deleted_at: datetime | None
    repeated: bool = False  # an append that found its external_id stored already


@counts_refusals
def append(  # noqa: PLR0913  keyword-only, one per column
    conversation_id: UUID,
    role: str,
    content: str,
    *,
    metadata: Json | None = None,
    external_id: str | None = None,
    author: str | None = None,
    inbound: bool = False,
    turn_id: UUID | None = None,
    agent_version: int | None = None,
) -> Entry:
    """Store one message as the conversation's next; a repeated `external_id` returns the first row.

    A caller that never learnt whether its append was committed repeats it with the same `external_id`.
    """
    values = (conversation_id, role, content, _json(metadata), external_id, author, inbound, turn_id, agent_version)
    try:
        [row] = ask(APPEND, values)
    except REFUSALS as error:
        raise in_our_words(error, conversation_id) from error
    id_, index, characters, stored, wrote, created, deleted, repeated = row
    return Entry(
        id_, conversation_id, index, role, content, characters, _parsed(stored), external_id, inbound, wrote, turn_id,
        agent_version, created, deleted, repeated,
    )  # fmt: skip


@counts_refusals
def append_many(conversation_id: UUID, messages: Sequence[Json]) -> list[Entry]:
    """Store `{role, content, metadata?, external_id?, author?}` one after the other, in one statement."""
    try:
        rows = ask(APPEND_MANY, (conversation_id, encode(messages)))
    except REFUSALS as error:
        raise in_our_words(error, conversation_id) from error
    return [
        Entry(
            id_, conversation_id, index, role, content, characters, _parsed(metadata), message.get("external_id"),
            False, author, None, None, created, deleted, repeated,
        )
        for message, row in zip(messages, rows, strict=True)
        for id_, index, role, content, characters, metadata, author, created, deleted, repeated in [row]
    ]  # fmt: skip


def history(
    conversation_id: UUID,
    *,
    limit: int | None = None,
    after_index: int | None = None,
    before_index: int | None = None,
    include_deleted: bool = False,
) -> list[Entry]:
    """Messages in order of index: the first after `after_index`, else the newest (before `before_index`)."""
    try:
        rows = ask(HISTORY, (conversation_id, limit, after_index, before_index, include_deleted))
    except REFUSALS as error:
        raise in_our_words(error, conversation_id) from error
    return [
        Entry(id_, conversation_id, index, role, content, characters, _parsed(metadata), *rest)
        for id_, index, role, content, characters, metadata, *rest in rows
    ]


def count(conversation_id: UUID) -> int:
    """How many messages a reader sees; costs the same however many there are."""
    [(number,)] = ask("SELECT get_session_message_count(%s)", (conversation_id,))
    return int(number)


def clear(conversation_id: UUID, *, by: str) -> int:
    """Mark every message deleted and return their number; they stay stored and keep their indexes.

    What still waited for an answer gets none: open bursts and unfinished turns go with the fate of being cleared.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        _lock(cursor, conversation_id)
        cursor.execute(
            "UPDATE messages SET deleted_at = clock_timestamp() WHERE conversation_id = %s AND deleted_at IS NULL",
            (conversation_id,),
        )
        cleared: int = cursor.rowcount
        left = unanswered.discard(conversation_id, Fate.CLEARED, rule=by)
        turns = unanswered.withdraw(conversation_id, Fate.CLEARED, rule=by)
        if cleared or left or turns:
            told = {"messages": cleared, "buffered": left, "turns": turns}
            audit.record("conversation.clear", by, ("conversation", conversation_id), told)
    log.info("conversation cleared", conversation=str(conversation_id), by=by, messages=cleared)
    return cleared


@counts_refusals
def save_session(conversation_id: UUID, messages: Sequence[Json]) -> list[Entry]:
    """For callers that hand over whole lists: append what is new, refuse a list that contradicts what is stored.

    The list must begin with the visible history, so two tabs that answer at once cannot overwrite each other: the
    second is told, reads again, and saves on top.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            _lock(cursor, conversation_id)
        stored = history(conversation_id)
        for position, (known, given) in enumerate(zip(stored, messages, strict=False)):
            if (known.role, known.content) != (given.get("role"), given.get("content")):
                raise HistoryConflictError(
                    f"Message {position} of the list is not the stored one (index {known.message_index})."
                )
        if len(messages) < len(stored):
            raise HistoryConflictError(f"The list has {len(messages)} messages, but {len(stored)} are stored.")
        new = [_whole(message) for message in messages[len(stored) :]]
        return append_many(conversation_id, new) if new else []


def _whole(message: Json) -> Json:
    """What has no column of its own, like the list's ids and times, stays in the metadata."""
    rest = {name: value for name, value in message.items() if name not in COLUMNS}
    return {**message, "metadata": {**rest, **(message.get("metadata") or {})}} if rest else message


def _lock(cursor: CursorWrapper, conversation_id: UUID) -> None:
    """Hold appends back until the transaction ends."""
    cursor.execute("SELECT FROM conversations WHERE id = %s FOR NO KEY UPDATE", (conversation_id,))
    if cursor.fetchone() is None:
        raise ConversationNotFoundError(f"There is no conversation {conversation_id}.")


def _json(metadata: Json | None) -> str:
    return encode(metadata) if metadata else "{}"


def _parsed(metadata: str) -> dict[str, Any]:
    """Django leaves jsonb as text; most of it is empty."""
    parsed: dict[str, Any] = {} if metadata == "{}" else readable(metadata)
    return parsed


def in_our_words(error: Exception, conversation_id: UUID) -> Exception:  # noqa: PLR0911  a table
    """What PostgreSQL, or its driver on the way there, refused; an outage stays what it is."""
    cause = error.__cause__
    if not isinstance(cause, psycopg.Error):  # the driver could not write it: a lone surrogate
        return MessageRefusedError(UNSTORABLE)
    match cause.sqlstate:
        case "23503" if cause.diag.constraint_name == "messages_conversation_fk":
            return ConversationNotFoundError(f"There is no conversation {conversation_id}.")
        case "23505":
            return ExternalIdTakenError("The external id already names another message of the conversation.")
        case "23502" if cause.diag.column_name not in COLUMNS:
            return _as_it_is(error)  # a column that this code does not know: nothing is wrong with the message
        case "23502" | "23514":
            rule = cause.diag.constraint_name or cause.diag.column_name
            return MessageRefusedError(f"The message breaks the rule {rule}.")
        case "22001":
            return MessageRefusedError("The external id or the author is too long.")
        case "2201W" | "22003" | "22023":
            return LogError("A limit or an index is below zero, or beyond what the log counts to.")
        case "22P02" if "type uuid" in (cause.diag.message_primary or ""):
            return ConversationNotFoundError(f"There is no conversation {conversation_id}.")
        case None | "22021" | "22P02" | "22P05":  # NUL, NaN
            return MessageRefusedError(UNSTORABLE)
    return _as_it_is(error)


def _as_it_is(error: Exception) -> Exception:
    """Another of its kind, since it is raised from the first: an error that is its own cause has no end."""
    return type(error)(*error.args)
