"""The life of a turn's row: claimed under a lease, settled once, tried again, withdrawn.

Every write of a runner names the generation it claimed. A runner that lost its lease updates no row, and so sends
nothing: what it would have sent is written in the same transaction.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import DurationField, Value

from agents import audit
from agents.outcomes import Outcome, Replied, Silent, Usage
from config.columns import clock
from config.crash import crash_point
from conversations import fates, log, outbox
from conversations.buffering import lock, wake_turns
from conversations.errors import NothingToRetryError
from conversations.listening import window_of
from conversations.models import Fate, Turn, TurnStatus

logger = structlog.get_logger(__name__)

MOST_REDRAFTS = 2  # a person who never stops writing still gets an answer: the third draft is sent
LONGEST_BACKOFF = 300.0  # seconds


@dataclass(frozen=True, slots=True)
class Claimed:
    """A turn that is ours to run until the lease ends or somebody claims it after us."""

    id: UUID
    generation: int
    conversation_id: UUID
    interview_step: int
    input: list[dict[str, Any]]
    attempts: int
    redrafts: int


@dataclass(frozen=True, slots=True)
class Busy:
    """There is work, and not now: another runner has it until then, or the next attempt is due then."""

    until: datetime


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing is left to answer."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What we decided was kept; `status` tells how it ended."""

    status: TurnStatus
    reply: log.Entry | None = None


@dataclass(frozen=True, slots=True)
class LeaseLost:
    """Somebody else has the turn, or it was withdrawn: nothing of ours was kept but the draft."""


# The oldest unfinished turn or none: answers come in the order of the bursts.
CLAIM = """
WITH oldest AS (
    SELECT id FROM turns WHERE conversation_id = %(conversation)s AND status IN ('waiting', 'running')
    ORDER BY id LIMIT 1 FOR NO KEY UPDATE
)
UPDATE turns SET status = 'running', generation = generation + 1, attempts = attempts + 1,
    lease_until = clock_timestamp() + %(lease)s, started_at = coalesce(started_at, clock_timestamp()),
    updated_at = clock_timestamp()
FROM oldest WHERE turns.id = oldest.id AND (
    (status = 'waiting' AND next_attempt_at <= clock_timestamp())
    OR (status = 'running' AND lease_until <= clock_timestamp())
)
RETURNING turns.id, generation, conversation_id, interview_step, input, attempts, redrafts
"""
WHEN = """
SELECT CASE status WHEN 'running' THEN lease_until ELSE next_attempt_at END FROM turns
WHERE conversation_id = %(conversation)s AND status IN ('waiting', 'running') ORDER BY id LIMIT 1
"""


def claim(conversation_id: UUID) -> Claimed | Busy | Idle:
    """Take the conversation's oldest unfinished turn, if nobody has it."""
    values: dict[str, Any] = {"conversation": conversation_id, "lease": _lease()}
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(CLAIM, values)
            row = cursor.fetchone()
            if row is not None:
                id_, generation, conversation, step, messages, attempts, redrafts = row
                return Claimed(id_, generation, conversation, step, json.loads(messages), attempts, redrafts)
            cursor.execute(WHEN, values)
            found = cursor.fetchone()
    except IntegrityError:  # a staff retry put an older turn before one that runs: turns_one_running
        return Busy(datetime.now().astimezone() + _lease())
    return Busy(found[0]) if found else Idle()


def renew(claimed: Claimed) -> bool:
    """Go on having it; False once it is no longer ours."""
    return bool(_mine(claimed).update(lease_until=_in(_lease())))


def settle(claimed: Claimed, outcome: Outcome) -> Settled | LeaseLost:
    """Keep the outcome in one transaction: reply, outbox, fates, step and the turn's end. A stale draft gives way."""
    with transaction.atomic():
        lock(claimed.conversation_id)
        if not _still_ours(claimed):
            _keep_draft(claimed, outcome)
            return LeaseLost()
        if not isinstance(outcome, Silent) and _give_way(claimed, outcome):
            return Settled(TurnStatus.SUPERSEDED)
        version = _agent_version(outcome)
        reply = _say(claimed, outcome.text, agent_version=version) if not isinstance(outcome, Silent) else None
        fates.record(claimed.input, Fate.ANSWERED, turn_id=claimed.id)
        _finish(claimed, TurnStatus.DONE, outcome, reply_id=reply.id if reply else None, agent_version=version)
        _pin(claimed.conversation_id, version)
        if isinstance(outcome, Replied) and outcome.next_step not in (None, claimed.interview_step):
            _move_on(claimed, outcome.next_step)
        _wake_next(claimed.conversation_id)
        crash_point("in_settle")
        return Settled(TurnStatus.DONE, reply)


def fail(claimed: Claimed, error: str, *, permanent: bool, apology: str, after: float = 0.0) -> Settled | LeaseLost:
    """Try again later, or give up: then the person is told, and staff see a failed turn."""
    with transaction.atomic():
        lock(claimed.conversation_id)
        if not _still_ours(claimed):
            return LeaseLost()
        if not permanent and claimed.attempts < settings.INTERVIEW_TURN_ATTEMPTS:
            again = _in(max(_backoff(claimed.attempts), timedelta(seconds=min(after, LONGEST_BACKOFF))))
            _mine(claimed).update(
                status=TurnStatus.WAITING,
                lease_until=None,
                next_attempt_at=again,
                error=error,
                updated_at=_in(timedelta()),
            )
            due = Turn.objects.values_list("next_attempt_at", flat=True).get(pk=claimed.id)
            wake_turns(claimed.conversation_id, at=due)
            return Settled(TurnStatus.WAITING)
        reply = _say(claimed, apology, metadata={"failure": True}) if apology else None
        fates.record(claimed.input, Fate.FAILED, turn_id=claimed.id)
        _mine(claimed).update(
            status=TurnStatus.FAILED,
            lease_until=None,
            error=error,
            reply_id=reply.id if reply else None,
            finished_at=_in(timedelta()),
            updated_at=_in(timedelta()),
        )
        _wake_next(claimed.conversation_id)
        return Settled(TurnStatus.FAILED, reply)


def retry(turn_id: UUID, *, by: str) -> None:
    """Run a failed turn once more, from its first attempt."""
    with transaction.atomic():
        turn = Turn.objects.filter(pk=turn_id).only("conversation_id").first()
        if turn is None:
            raise NothingToRetryError
        lock(turn.conversation_id)
        reopened = Turn.objects.filter(pk=turn_id, status=TurnStatus.FAILED).update(
            status=TurnStatus.WAITING, attempts=0, error="", finished_at=None, next_attempt_at=_in(timedelta())
        )
        if not reopened:
            raise NothingToRetryError
        audit.record("turn.retry", by, ("turn", turn_id), {"conversation": str(turn.conversation_id)})
        wake_turns(turn.conversation_id)
    logger.info("turn retried by hand", turn=str(turn_id), by=by)


# --- settling, step by step ---


def _give_way(claimed: Claimed, outcome: Outcome) -> bool:
    """Did the person write on meanwhile? Then keep the answer as a draft: one later turn answers everything."""
    if claimed.redrafts >= MOST_REDRAFTS:
        return False
    window = window_of(claimed.conversation_id)
    with connection.cursor() as cursor:
        cursor.execute(
            GIVE_WAY,
            {
                "conversation": claimed.conversation_id,
                "step": claimed.interview_step,
                "turn": claimed.id,
                "size": len(claimed.input),
                "max_size": window.max_size,
                "bytes": sum(len(message["content"].encode()) for message in claimed.input),
                "max_bytes": window.max_bytes,
                "redrafts": claimed.redrafts + 1,
                "input": json.dumps(claimed.input),
            },
        )
        into_turn, into_burst = cursor.fetchone()
    if into_turn is None and into_burst is None:
        return False
    _finish(claimed, TurnStatus.SUPERSEDED, outcome, superseded_by=into_turn, draft=_text(outcome))
    if into_turn is not None:
        wake_turns(claimed.conversation_id)
    return True


# The next waiting turn of the step takes our messages before its own; where none waits, the open burst carries us to
# its turn. Never past one that has no room for us: order is kept, and so is the limit.
GIVE_WAY = """
WITH next AS (
    SELECT id, jsonb_array_length(input) AS size,
        (SELECT sum(octet_length(message ->> 'content')) FROM jsonb_array_elements(input) AS message) AS bytes
    FROM turns WHERE conversation_id = %(conversation)s AND status = 'waiting' AND interview_step = %(step)s
        AND id > %(turn)s
    ORDER BY id LIMIT 1
), taken AS (
    UPDATE turns SET input = %(input)s::jsonb || input, redrafts = greatest(redrafts, %(redrafts)s),
        updated_at = clock_timestamp()
    FROM next WHERE turns.id = next.id AND size + %(size)s <= %(max_size)s AND bytes + %(bytes)s <= %(max_bytes)s
    RETURNING turns.id
), carried AS (
    UPDATE message_buffers SET carries = %(turn)s, updated_at = clock_timestamp()
    WHERE conversation_id = %(conversation)s AND interview_step = %(step)s AND carries IS NULL
        AND NOT EXISTS (SELECT FROM next)
        AND jsonb_array_length(messages) + %(size)s <= %(max_size)s AND size_bytes + %(bytes)s <= %(max_bytes)s
    RETURNING id
)
SELECT (SELECT id FROM taken), (SELECT id FROM carried)
"""


def _say(
    claimed: Claimed, text: str, *, agent_version: int | None = None, metadata: dict[str, Any] | None = None
) -> log.Entry:
    """Append the answer and put it into the outbox."""
    reply = log.append(
        claimed.conversation_id,
        "assistant",
        text,
        metadata=metadata,
        turn_id=claimed.id,
        agent_version=agent_version,
    )
    outbox.enqueue(reply)
    return reply


def _finish(claimed: Claimed, status: TurnStatus, outcome: Outcome, **columns: Any) -> None:
    _mine(claimed).update(
        status=status,
        lease_until=None,
        error="",
        trace={**outcome.trace, "outcome": type(outcome).__name__.lower(), **_reason(outcome)},
        finished_at=_in(timedelta()),
        updated_at=_in(timedelta()),
        **_cost(outcome.usage),
        **columns,
    )


def _pin(conversation_id: UUID, version: int | None) -> None:
    """An interview that has begun goes on with the version it began with: the answers stay comparable."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE conversations SET agent_version = said.version FROM agent_versions AS said"
            " WHERE conversations.id = %s AND conversations.agent_version IS NULL AND said.version = %s"
            " AND said.agent_id = conversations.agent_id AND said.config ->> 'kind' = 'interview'",
            [conversation_id, version],
        )


def _wake_next(conversation_id: UUID) -> None:
    """A turn that had to wait for ours is looked at now; most often there is none, and no worker need look."""
    if Turn.objects.unfinished().filter(conversation_id=conversation_id).exists():
        wake_turns(conversation_id)


def _move_on(claimed: Claimed, next_step: int | None) -> None:
    """Only from the step the burst belongs to: a late answer never moves the interview back."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE conversations SET interview_step = %s WHERE id = %s AND interview_step = %s",
            [next_step, claimed.conversation_id, claimed.interview_step],
        )


def _keep_draft(claimed: Claimed, outcome: Outcome) -> None:
    """An answer that came too late is not sent; what it said and cost is kept where nothing else is."""
    Turn.objects.filter(pk=claimed.id, status=TurnStatus.WITHDRAWN, draft="").update(
        draft=_text(outcome), trace=outcome.trace, **_cost(outcome.usage)
    )


def _mine(claimed: Claimed) -> Any:
    return Turn.objects.filter(pk=claimed.id, status=TurnStatus.RUNNING, generation=claimed.generation)


def _still_ours(claimed: Claimed) -> bool:
    """Is it, and until we commit? Locked: or a claim after our look would leave two replies, each by its own lease."""
    return bool(_mine(claimed).select_for_update(no_key=True).values_list("pk"))


def _text(outcome: Outcome) -> str:
    return "" if isinstance(outcome, Silent) else outcome.text


def _reason(outcome: Outcome) -> dict[str, str]:
    return {} if isinstance(outcome, Replied) else {"reason": outcome.reason}


def _cost(usage: Usage) -> dict[str, int]:
    return {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}


def _agent_version(outcome: Outcome) -> int | None:
    version = outcome.trace.get("agent_version")
    return version if isinstance(version, int) else None


def _backoff(attempts: int) -> timedelta:
    """Twice as long each time, within a quarter more or less, so that a crowd does not come back as a crowd."""
    seconds = min(LONGEST_BACKOFF, settings.INTERVIEW_TURN_BACKOFF * 2 ** (attempts - 1))
    return timedelta(seconds=seconds * random.uniform(0.75, 1.25))  # noqa: S311  jitter, not a secret


def _in(distance: timedelta) -> Any:
    """So far from now, by the database's clock."""
    return clock() + Value(distance, output_field=DurationField())


def _lease() -> timedelta:
    return timedelta(seconds=settings.INTERVIEW_TURN_LEASE)
