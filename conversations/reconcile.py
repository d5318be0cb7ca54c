"""The proof that nobody was forgotten: every message a person sent waits, or has exactly one fate."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import OperationalError, connection, transaction
from django.utils.translation import gettext as _

from config.health import Result
from config.postgresql.failures import Failure, failure
from conversations import burst, fates
from conversations.buffering import lock, wake_turns
from conversations.models import Fate, Mode, TurnStatus

WAITING = """
WITH burst AS (
    SELECT messages FROM message_buffers
    UNION ALL SELECT input FROM turns JOIN message_buffers ON carries = turns.id
    UNION ALL SELECT input FROM turns WHERE status IN ('waiting', 'running')
), waiting AS (
    SELECT (message ->> 'message_id')::uuid AS id FROM burst, jsonb_array_elements(messages) AS message
    UNION SELECT edit::uuid FROM burst, jsonb_array_elements(messages) AS message,
        jsonb_array_elements_text(coalesce(message -> 'edits', '[]')) AS edit
)
"""
# Ids are UUIDv7: what was stored since a time is a range of the partial index messages_inbound. Not since one told by
# clock_timestamp(): what may change while a statement runs is no condition of an index.
SENT = """
messages.inbound AND messages.id >= (lpad(to_hex(coalesce((extract(epoch FROM
    statement_timestamp() - {since}::interval) * 1000)::bigint, 0)), 12, '0') || repeat('0', 20))::uuid
"""
HOLES = f"""
{WAITING}
SELECT messages.id, messages.conversation_id, message_index, messages.content, messages.created_at,
    deleted_at IS NOT NULL, mode, conversations.interview_step, conversations.user_id,
    took.id, took.status, took.interview_step,
    EXISTS (SELECT FROM messages AS later WHERE later.conversation_id = messages.conversation_id
        AND later.message_index > messages.message_index AND later.role = 'assistant')
FROM messages JOIN conversations ON conversations.id = conversation_id
LEFT JOIN message_fates ON message_fates.message_id = messages.id
LEFT JOIN LATERAL (
    SELECT id, status, interview_step FROM turns WHERE turns.conversation_id = messages.conversation_id
        AND input @> jsonb_build_array(jsonb_build_object('message_id', messages.id))
    ORDER BY turns.id DESC LIMIT 1
) AS took ON true
WHERE {SENT.format(since="%(since)s")}
    AND message_fates.id IS NULL AND NOT EXISTS (SELECT FROM waiting WHERE waiting.id = messages.id)
ORDER BY messages.conversation_id, message_index
"""
COUNT = f"""
{WAITING}
SELECT coalesce(fate, CASE WHEN waiting.id IS NULL THEN 'none' ELSE 'waiting' END), count(*),
    count(*) FILTER (WHERE fate IS NOT NULL AND waiting.id IS NOT NULL AND fate <> 'failed')
FROM messages LEFT JOIN message_fates ON message_fates.message_id = messages.id
LEFT JOIN waiting ON waiting.id = messages.id
WHERE {SENT.format(since="%(since)s")} GROUP BY 1
"""
FORGOTTEN_TODAY = f"""
{WAITING}
SELECT count(*) FROM messages WHERE {SENT.format(since="'1 day'")}
    AND NOT EXISTS (SELECT FROM message_fates WHERE message_id = messages.id)
    AND NOT EXISTS (SELECT FROM waiting WHERE waiting.id = messages.id)
"""
GAPS = """
SELECT conversation_id, max(message_index) + 1 - count(*) FROM messages
GROUP BY conversation_id HAVING max(message_index) + 1 <> count(*) LIMIT %s
"""
GAPS_SHOWN = 20
ANSWER_NOW = """
INSERT INTO turns (conversation_id, interview_step, flush_id, trigger, input)
VALUES (%s, %s, %s, 'staff', %s)
ON CONFLICT (flush_id) DO UPDATE SET status = 'waiting', attempts = 0, next_attempt_at = clock_timestamp()
WHERE turns.status IN ('withdrawn', 'superseded')
"""


@dataclass(frozen=True, slots=True)
class Hole:
    """A message that nobody answered, left, cleared or skipped, and that does not wait either."""

    message_id: UUID
    conversation_id: UUID
    message_index: int
    content: str
    created_at: Any
    deleted: bool
    mode: str
    conversation_step: int
    user_id: int
    turn_id: UUID | None
    turn_status: str | None
    turn_step: int | None
    spoken_after: bool


@dataclass(frozen=True, slots=True)
class Account:
    """How many messages have which fate, wait, or have neither (`none`); and how many have a fate and still wait."""

    by_fate: dict[str, int]
    contradictions: int

    @property
    def holes(self) -> int:
        return self.by_fate.get("none", 0)


def account(since: timedelta | None = None) -> Account:
    """Count every message a person sent, by what became of it."""
    with connection.cursor() as cursor:
        values: dict[str, Any] = {"since": since}
        cursor.execute(COUNT, values)
        rows = cursor.fetchall()
    return Account({fate: number for fate, number, _both in rows}, sum(both for _fate, _number, both in rows))


def forgotten() -> Result:
    """Does every message of the last day wait, or have a fate? For `manage.py doctor`; the start page has a figure."""
    with connection.cursor() as cursor:
        cursor.execute(FORGOTTEN_TODAY)
        (number,) = cursor.fetchone()
    if number:
        detail = _("messages of the last day that neither wait nor have a fate: %d") % number
        return Result("fates", False, detail, _("`manage.py reconcile` names them, `--repair` mends them."))
    return Result("fates", True, _("every message of the last day waits or has its fate"))


def gaps(*, patient: bool = False) -> list[tuple[UUID, int]]:
    """Conversations whose messages are not numbered from 0 on without a gap, and how many each lacks; the first few.

    It reads the index of all messages: half a million in a tenth of a second. Only the patient are not cut off.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        if patient:
            cursor.execute("SET LOCAL statement_timeout = 0")
        cursor.execute(GAPS, [GAPS_SHOWN])
        return [(conversation, int(lacking)) for conversation, lacking in cursor.fetchall()]


def complete() -> Result:
    """Is every message still there? For `manage.py doctor`."""
    try:
        found = gaps()
    except OperationalError as error:
        if failure(error) is not Failure.BUSY:
            raise
        return Result("messages", True, _("too many to count here; `manage.py reconcile` counts them"))
    if found:
        detail = _("conversations that lack messages: %d") % len(found)
        return Result("messages", False, detail, _("`manage.py reconcile` names them; a backup may have the messages."))
    return Result("messages", True, _("no conversation lacks a message"))


def holes(since: timedelta | None = None) -> list[Hole]:
    with connection.cursor() as cursor:
        values: dict[str, Any] = {"since": since}
        cursor.execute(HOLES, values)
        return [Hole(*row) for row in cursor.fetchall()]


def repair(hole: Hole) -> str:
    """Give the message the fate its own rows show, or let it be answered. What was done, in a word."""
    with transaction.atomic():
        lock(hole.conversation_id)
        if _has_fate(hole.message_id):
            return "settled meanwhile"
        match hole:
            case Hole(deleted=True):
                fates.record_one(hole.message_id, Fate.CLEARED, rule="reconciled")
                return "cleared"
            case Hole(turn_status=TurnStatus.DONE | TurnStatus.FAILED, turn_id=turn_id):
                fate = Fate.ANSWERED if hole.turn_status == TurnStatus.DONE else Fate.FAILED
                fates.record([{"message_id": str(hole.message_id)}], fate, turn_id=turn_id, rule="reconciled")
                return str(fate)
            case Hole(mode=Mode.AUTO, spoken_after=False):
                _answer_now(hole)
                return "to be answered"
        fate = Fate.STAFF if hole.mode == Mode.MANUAL else Fate.SKIPPED
        fates.record_one(hole.message_id, fate, rule="reconciled")
        return str(fate)


def _answer_now(hole: Hole) -> None:
    """Nothing was said since: the person still waits for an answer."""
    step = hole.conversation_step if hole.turn_step is None else hole.turn_step
    message = {
        "message_id": str(hole.message_id),
        "message_index": hole.message_index,
        "content": hole.content,
        "at": hole.created_at.isoformat(),
        "question_context": None,
    }
    flush_id = burst.flush_id(hole.user_id, str(hole.conversation_id), step, hole.message_index)
    with connection.cursor() as cursor:
        cursor.execute(ANSWER_NOW, [hole.conversation_id, step, flush_id, json.dumps([message])])
    wake_turns(hole.conversation_id)


def _has_fate(message_id: UUID) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM message_fates WHERE message_id = %s", [message_id])
        return cursor.fetchone() is not None
