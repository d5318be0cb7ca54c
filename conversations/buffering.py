"""Listening: messages gather in an open burst until the person has been quiet, and the burst is sealed into a turn.

Every writer locks the conversation's row before its buffer, so a message and the flush it races with take turns: the
message is in the burst that is being sealed, or opens the next one. Timers are rows of the queue written in the same
transaction; one that fires early finds a later `flush_at` and re-arms itself, so messages need not move it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeGuard, get_args
from uuid import UUID

import structlog
from django.conf import settings
from django.db import connection, transaction

from agents import audit
from config.crash import crash_point
from config.queue import defer
from conversations import burst, fates, log, tally, unanswered
from conversations.errors import BlankMessageError, ConversationClosedError, UnknownActivityError
from conversations.events import Activity, BufferFlush, MessageBuffered, TypingActivity
from conversations.listening import window_of
from conversations.log import ConversationNotFoundError, Entry
from conversations.models import Fate, MessageBuffer, Mode, Trigger
from conversations.receiving import FLUSH, Waiting, store_waiting

logger = structlog.get_logger(__name__)

RUN = "turns.run"  # the task that looks at a conversation's turns
ACTIVITIES: tuple[Activity, ...] = get_args(Activity)
STOPPED = "cancel"
FINEST_EXTENSION = 0.5  # seconds: keystrokes closer together than this cost no write


@dataclass(frozen=True, slots=True)
class Received:
    """Where a message went: into a burst (`flush_at`), at once into a turn, to staff, or nowhere by a rule."""

    entry: Entry
    flush_at: datetime | None = None
    flush_id: str = ""
    fate: Fate | None = None
    command: str | None = None


@tally.counts_refusals
def receive(  # noqa: PLR0913  keyword-only, each is something a channel may know
    conversation_id: UUID,
    content: str,
    *,
    external_id: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    question_context: str | None = None,
    interview_step: int | None = None,
) -> Received:
    """Store what a person sent and let it wait for the rest of the burst, in one transaction.

    `interview_step` files an answer to an earlier question under its step. A repeated `external_id` changes nothing.
    """
    if burst.is_blank(content):
        raise BlankMessageError
    if settings.INTERVIEW_BUFFER_ENABLED and burst.command_in(content) is None:
        waiting = store_waiting(
            conversation_id, content, external_id=external_id, metadata=metadata, question_context=question_context,
            interview_step=interview_step,
        )  # fmt: skip
        if waiting is not None:
            return _told(waiting)
    with transaction.atomic():
        entry = log.append(
            conversation_id, "user", content, metadata=metadata, external_id=external_id, inbound=True
        )  # locks the conversation until we are done
        if entry.repeated:
            return _as_before(entry)
        if (command := burst.command_in(content)) is not None:
            _refuse_closed(conversation_id)
            fates.record_one(entry.id, Fate.SKIPPED, rule="command")
            return Received(entry, fate=Fate.SKIPPED, command=command)
        if not settings.INTERVIEW_BUFFER_ENABLED:
            return _turn_at_once(entry, question_context, interview_step)
        return _buffer(entry, question_context, interview_step)


def reopen(entry: Entry, *, question_context: str | None = None, interview_step: int | None = None) -> Received:
    """Let a message that came into the log by another way (an import) wait for its answer, as if it just had come."""
    with transaction.atomic():
        lock(entry.conversation_id)
        if (command := burst.command_in(entry.content)) is not None:
            fates.record_one(entry.id, Fate.SKIPPED, rule="command")
            return Received(entry, fate=Fate.SKIPPED, command=command)
        if not settings.INTERVIEW_BUFFER_ENABLED:
            return _turn_at_once(entry, question_context, interview_step)
        return _buffer(entry, question_context, interview_step)


def typing(conversation_id: UUID, activity: str) -> datetime | None:
    """The person is still at it: open bursts wait longer, never past their deadline. Opens none and flushes none."""
    if activity == STOPPED:
        return None
    if not _is_activity(activity):
        raise UnknownActivityError
    window = window_of(conversation_id)
    values: dict[str, Any] = {"conversation": conversation_id, "typing": window.typing, "finest": FINEST_EXTENSION}
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(EXTEND, values)
        bursts = cursor.fetchall()
    for step, _flush_at, extended in bursts:
        if extended:
            TypingActivity(conversation_id=conversation_id, interview_step=step, activity=activity).tell()
    return max((flush_at for _step, flush_at, _extended in bursts), default=None)


EXTEND = """
WITH extended AS (
    UPDATE message_buffers SET
        flush_at = least(clock_timestamp() + %(typing)s, deadline),
        extended_by_typing = extended_by_typing + 1, updated_at = clock_timestamp()
    WHERE conversation_id = %(conversation)s AND flush_at < deadline
        AND flush_at + %(finest)s * interval '1 second' <= clock_timestamp() + %(typing)s
    RETURNING id, flush_at
)
SELECT burst.interview_step, coalesce(extended.flush_at, burst.flush_at), extended.id IS NOT NULL
FROM message_buffers AS burst LEFT JOIN extended USING (id) WHERE burst.conversation_id = %(conversation)s
"""


def flush(conversation_id: UUID, interview_step: int) -> UUID | None:
    """Seal the burst if its time has come, else set the timer again. The new turn's id, or None."""
    with transaction.atomic():
        lock(conversation_id)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT flush_at, flush_at <= clock_timestamp(), flush_at >= deadline FROM message_buffers"
                " WHERE conversation_id = %s AND interview_step = %s",
                [conversation_id, interview_step],
            )
            row = cursor.fetchone()
        if row is None:
            return None  # sealed already, or cleared
        flush_at, is_due, at_deadline = row
        if not is_due:
            set_timer(conversation_id, interview_step, flush_at)
            return None
        return seal(conversation_id, interview_step, Trigger.MAX_WAIT if at_deadline else Trigger.DEBOUNCE)


def flush_now(conversation_id: UUID, interview_step: int, *, by: str) -> UUID | None:
    """Staff need not wait: seal the burst as it is."""
    with transaction.atomic():
        lock(conversation_id)
        turn_id = seal(conversation_id, interview_step, Trigger.STAFF)
        if turn_id is not None:
            told = {"turn": str(turn_id), "interview_step": interview_step}
            audit.record("buffer.flush", by, ("conversation", conversation_id), told)
    logger.info("burst flushed by hand", conversation=str(conversation_id), by=by, found=turn_id is not None)
    return turn_id


def seal(conversation_id: UUID, interview_step: int, trigger: Trigger) -> UUID | None:
    """Turn the open burst into a turn and take its row away; the caller holds the conversation's lock.

    A burst that carries a stale turn brings that turn's messages along, first: one turn answers everything.
    """
    with connection.cursor() as cursor:
        cursor.execute(SEAL, {"conversation": conversation_id, "step": interview_step, "trigger": trigger})
        row = cursor.fetchone()
    if row is None:
        return None
    turn_id, flush_id, size, waited_ms, extended = row
    wake_turns(conversation_id)
    event = BufferFlush(
        conversation_id=conversation_id,
        interview_step=interview_step,
        turn_id=turn_id,
        flush_id=flush_id,
        trigger=str(trigger),
        burst_size=size,
        waited_ms=waited_ms,
        extended_by_typing=extended,
    )
    transaction.on_commit(event.tell)
    crash_point("in_seal")
    return UUID(str(turn_id))


SEAL = """
WITH taken AS (
    DELETE FROM message_buffers WHERE conversation_id = %(conversation)s AND interview_step = %(step)s RETURNING *
), stale AS (
    SELECT turns.id, turns.input, turns.redrafts FROM turns JOIN taken ON turns.id = taken.carries
), sealed AS (
    INSERT INTO turns (conversation_id, interview_step, flush_id, trigger, input, due_at, waited_ms,
                       extended_by_typing, redrafts)
    SELECT taken.conversation_id, taken.interview_step, taken.flush_id, %(trigger)s,
        coalesce(stale.input, '[]') || taken.messages, least(taken.flush_at, clock_timestamp()),
        extract(epoch FROM clock_timestamp() - taken.created_at) * 1000, taken.extended_by_typing,
        coalesce(stale.redrafts + 1, 0)
    FROM taken LEFT JOIN stale ON true
    RETURNING id, flush_id, jsonb_array_length(input), waited_ms, extended_by_typing
), linked AS (
    UPDATE turns SET superseded_by = sealed.id, updated_at = clock_timestamp()
    FROM sealed, stale WHERE turns.id = stale.id
)
SELECT * FROM sealed
"""


def has_buffer(conversation_id: UUID, interview_step: int | None = None) -> bool:
    """Is a burst open?"""
    return bool(_buffers(conversation_id, interview_step).exists())


def get_messages(conversation_id: UUID, interview_step: int | None = None) -> list[dict[str, Any]]:
    """The messages of the open burst, in order; without a step those of every open burst."""
    buffers = _buffers(conversation_id, interview_step).order_by("interview_step")
    return [message for messages in buffers.values_list("messages", flat=True) for message in messages]


def clear_buffer(conversation_id: UUID, interview_step: int | None = None, *, by: str) -> int:
    """Discard the open burst: its messages stay in the log, with the fate of being cleared. How many there were."""
    with transaction.atomic():
        lock(conversation_id)
        discarded = unanswered.discard(conversation_id, Fate.CLEARED, interview_step=interview_step, rule=by)
        if discarded:
            told = {"messages": discarded, "interview_step": interview_step}
            audit.record("buffer.clear", by, ("conversation", conversation_id), told)
        return discarded


def lock(conversation_id: UUID) -> None:
    """Hold the conversation until the transaction ends: before its buffers, its turns and its next message."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM conversations WHERE id = %s FOR NO KEY UPDATE", [conversation_id])
        if cursor.fetchone() is None:
            raise ConversationNotFoundError(f"There is no conversation {conversation_id}.")


def wake_turns(conversation_id: UUID, at: datetime | None = None) -> None:
    """Let a worker look at the conversation's turns."""
    defer(RUN, str(conversation_id), at=at, key=[str(conversation_id)])


def set_timer(conversation_id: UUID, interview_step: int, at: datetime) -> None:
    """Let a worker look at the burst then."""
    defer(FLUSH, str(conversation_id), interview_step, at=at, key=[str(conversation_id), interview_step])


def _buffer(entry: Entry, question_context: str | None, interview_step: int | None) -> Received:
    """Put the message into its burst; a burst that would become too large is sealed first."""
    crash_point("in_receive")
    window = window_of(entry.conversation_id)
    values = {
        **_values(entry, question_context, interview_step),
        "quiet": window.quiet_after(entry.content, entry.metadata),
        "max_wait": window.max_wait,
        "max_bytes": window.max_bytes,
    }
    row = _upsert(values)
    if row is None:
        mode, step = _refuse_closed(entry.conversation_id)
        if mode == Mode.MANUAL:
            fates.record_one(entry.id, Fate.STAFF)
            return Received(entry, fate=Fate.STAFF)
        seal(entry.conversation_id, step if interview_step is None else interview_step, Trigger.OVERFLOW)
        return _buffer(entry, question_context, interview_step)  # into a burst of its own
    step, flush_id, flush_at, size, size_bytes, opened, wait_ms = row
    if size >= window.max_size or size_bytes >= window.max_bytes:
        seal(entry.conversation_id, step, Trigger.OVERFLOW)
        return Received(entry, flush_at=flush_at, flush_id=flush_id)
    if opened:
        set_timer(entry.conversation_id, step, flush_at)
    return _told(Waiting(entry, step, flush_id, flush_at, size, wait_ms, opened))


def _told(waiting: Waiting) -> Received:
    """Say that the message waits now, once that is true."""
    event = MessageBuffered(
        conversation_id=waiting.entry.conversation_id,
        interview_step=waiting.interview_step,
        message_index=waiting.entry.message_index,
        burst_size=waiting.size,
        opened=waiting.opened,
        flush_id=waiting.flush_id,
        wait_ms=waiting.wait_ms,
    )
    transaction.on_commit(event.tell)
    return Received(waiting.entry, flush_at=waiting.flush_at, flush_id=waiting.flush_id)


# Nothing comes back where the conversation is not the agent's, or where the open burst has no room for the message.
UPSERT = """
INSERT INTO message_buffers AS open
    (conversation_id, user_id, interview_step, messages, size_bytes, flush_id, flush_at, deadline)
SELECT id, user_id, step, %(message)s::jsonb, %(bytes)s, jsonb_build_array(user_id, id, step, %(index)s)::text,
    now + least(%(quiet)s, %(max_wait)s), now + %(max_wait)s
FROM (
    SELECT *, coalesce(%(step)s, interview_step) AS step, clock_timestamp() AS now
    FROM conversations WHERE id = %(conversation)s AND mode = 'auto'
) AS conversation
ON CONFLICT (conversation_id, interview_step) DO UPDATE SET
    messages = open.messages || EXCLUDED.messages,
    size_bytes = open.size_bytes + EXCLUDED.size_bytes,
    flush_at = least(greatest(open.flush_at, clock_timestamp() + %(quiet)s), open.deadline),
    last_updated_at = clock_timestamp(), updated_at = clock_timestamp()
WHERE open.size_bytes + EXCLUDED.size_bytes <= %(max_bytes)s
RETURNING interview_step, flush_id, flush_at, jsonb_array_length(messages), size_bytes, xmax = 0,
    greatest(0, extract(epoch FROM flush_at - clock_timestamp()) * 1000)::int
"""


def _upsert(values: dict[str, Any]) -> tuple[Any, ...] | None:
    with connection.cursor() as cursor:
        cursor.execute(UPSERT, values)
        row: tuple[Any, ...] | None = cursor.fetchone()
    return row


TURN_AT_ONCE = """
INSERT INTO turns (conversation_id, interview_step, flush_id, trigger, input)
SELECT id, coalesce(%(step)s, interview_step),
    jsonb_build_array(user_id, id, coalesce(%(step)s, interview_step), %(index)s)::text, 'immediate', %(message)s::jsonb
FROM conversations WHERE id = %(conversation)s AND mode = 'auto'
RETURNING id, interview_step, flush_id, due_at
"""


def _turn_at_once(entry: Entry, question_context: str | None, interview_step: int | None) -> Received:
    """Buffering is off: the message is its own burst."""
    with connection.cursor() as cursor:
        cursor.execute(TURN_AT_ONCE, _values(entry, question_context, interview_step))
        row = cursor.fetchone()
    if row is None:
        _refuse_closed(entry.conversation_id)
        fates.record_one(entry.id, Fate.STAFF)
        return Received(entry, fate=Fate.STAFF)
    turn_id, step, flush_id, due_at = row
    wake_turns(entry.conversation_id)
    event = BufferFlush(
        conversation_id=entry.conversation_id, interview_step=step, turn_id=turn_id, flush_id=flush_id,
        trigger="immediate", burst_size=1, waited_ms=0, extended_by_typing=0,
    )  # fmt: skip
    transaction.on_commit(event.tell)
    return Received(entry, flush_at=due_at, flush_id=flush_id)


def _values(entry: Entry, question_context: str | None, interview_step: int | None) -> dict[str, Any]:
    message = {
        "message_id": str(entry.id),
        "message_index": entry.message_index,
        "content": entry.content,
        "at": entry.created_at.isoformat(),
        "question_context": question_context,
    }
    return {
        "conversation": entry.conversation_id,
        "step": interview_step,
        "message": json.dumps([message]),
        "index": entry.message_index,
        "bytes": len(entry.content.encode()),
    }


def _is_activity(word: str) -> TypeGuard[Activity]:
    return word in ACTIVITIES


def _refuse_closed(conversation_id: UUID) -> tuple[str, int]:
    """The mode and step of a conversation that still goes on; raising takes the message back, too."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT mode, interview_step FROM conversations WHERE id = %s", [conversation_id])
        mode, step = cursor.fetchone()
    if mode == Mode.CLOSED:
        raise ConversationClosedError
    return mode, step


def _as_before(entry: Entry) -> Received:
    """The same update came twice: tell what became of the first."""
    tally.count("duplicates_refused")
    for buffer in _buffers(entry.conversation_id, None):
        if any(message["message_id"] == str(entry.id) for message in buffer.messages):
            return Received(entry, flush_at=buffer.flush_at, flush_id=buffer.flush_id)
    return Received(entry)


def _buffers(conversation_id: UUID, interview_step: int | None) -> Any:
    found = MessageBuffer.objects.filter(conversation_id=conversation_id)
    return found if interview_step is None else found.filter(interview_step=interview_step)
