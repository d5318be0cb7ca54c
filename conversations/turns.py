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
from django.db import IntegrityError, transaction
from django.db.models import BigIntegerField, DurationField, F, Value
from django.db.models.functions import Cast, Least

from agents import audit
from agents.outcomes import NOTHING, Outcome, Replied, Silent, Usage
from config.columns import clock
from config.crash import crash_point
from config.statements import ask, undone_alone
from conversations import fates, log, outbox, settling
from conversations.buffering import lock, wake_turns
from conversations.errors import NothingToRetryError
from conversations.listening import window_of
from conversations.models import Conversation, Fate, Mode, Turn, TurnStatus

logger = structlog.get_logger(__name__)

MOST_REDRAFTS = 2  # a person who never stops writing still gets an answer: the third draft is sent
LONGEST_BACKOFF = 300.0  # seconds
MAX_TOKENS = 2**31 - 1  # what the columns hold


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
    spent_tokens: int = 0  # by the attempts before this one, since staff retried the turn if they did
    spent_seconds: float = 0.0


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
    SELECT id FROM turns WHERE conversation_id = %s AND status IN ('waiting', 'running')
    ORDER BY id LIMIT 1 FOR NO KEY UPDATE
)
UPDATE turns SET status = 'running', generation = generation + 1, attempts = attempts + 1,
    lease_until = clock_timestamp() + %s, started_at = coalesce(started_at, clock_timestamp()),
    updated_at = clock_timestamp()
FROM oldest WHERE turns.id = oldest.id AND (
    (status = 'waiting' AND next_attempt_at <= clock_timestamp())
    OR (status = 'running' AND lease_until <= clock_timestamp())
)
RETURNING turns.id, generation, conversation_id, interview_step, input, attempts, redrafts,
    input_tokens + output_tokens::bigint - tokens_before_retry, busy_ms
"""
WRITTEN_ON = """
SELECT FROM turns AS ours WHERE conversation_id = %s AND id = %s AND (
    EXISTS (SELECT FROM message_buffers AS burst WHERE burst.conversation_id = ours.conversation_id
        AND burst.interview_step = ours.interview_step AND burst.carries IS NULL)
    OR EXISTS (SELECT FROM turns AS later WHERE later.conversation_id = ours.conversation_id
        AND later.status = 'waiting' AND later.interview_step = ours.interview_step AND later.id > ours.id))
"""
WHEN = """
SELECT CASE status WHEN 'running' THEN lease_until ELSE next_attempt_at END FROM turns
WHERE conversation_id = %s AND status IN ('waiting', 'running') ORDER BY id LIMIT 1
"""


def claim(conversation_id: UUID) -> Claimed | Busy | Idle:
    """Take the conversation's oldest unfinished turn, if nobody has it."""
    try:
        with undone_alone():
            claimed = ask(CLAIM, (conversation_id, _lease()))
    except IntegrityError:  # a staff retry put an older turn before one that runs: turns_one_running
        return Busy(datetime.now().astimezone() + _lease())
    if claimed:
        id_, generation, conversation, step, messages, attempts, redrafts, tokens, busy = claimed[0]
        return Claimed(
            id_, generation, conversation, step, json.loads(messages), attempts, redrafts, tokens, busy / 1000
        )
    found = ask(WHEN, (conversation_id,))
    return Busy(found[0][0]) if found else Idle()


def renew(claimed: Claimed) -> bool:
    """Go on having it; False once it is no longer ours."""
    return bool(_mine(claimed).update(lease_until=_in(_lease())))


def settle(claimed: Claimed, outcome: Outcome) -> Settled | LeaseLost:
    """Keep the outcome in one transaction: reply, outbox, fates, step and the turn's end. A stale draft gives way."""
    with transaction.atomic():
        if not _hold(claimed):
            _keep_draft(claimed, outcome)
            return LeaseLost()
        if not isinstance(outcome, Silent) and _give_way(claimed, outcome):
            return Settled(TurnStatus.SUPERSEDED)
        version = _agent_version(outcome)
        reply = _say(claimed, outcome.text, agent_version=version) if not isinstance(outcome, Silent) else None
        fates.record(claimed.input, Fate.ANSWERED, turn_id=claimed.id)
        reply_id = reply.id if reply else None
        settling.end(claimed.id, TurnStatus.DONE, outcome, reply_id=reply_id, agent_version=version)
        next_step = outcome.next_step if isinstance(outcome, Replied) else None
        if settling.move_on(
            claimed.conversation_id, claimed.id, from_step=claimed.interview_step, to_step=next_step,
            agent_version=version,
        ):  # fmt: skip
            wake_turns(claimed.conversation_id)
        crash_point("in_settle")
        return Settled(TurnStatus.DONE, reply)


def fail(  # noqa: PLR0913  keyword-only beyond the subject
    claimed: Claimed,
    error: str,
    *,
    permanent: bool,
    apology: str,
    after: float = 0.0,
    usage: Usage = NOTHING,
    took: float = 0.0,
    set_aside: bool = False,
) -> Settled | LeaseLost:
    """Try again later, or give up: then the person is told, and staff see a failed turn.

    `set_aside` keeps the messages out of every later prompt: no model would take a prompt that contains them.
    """
    with transaction.atomic():
        if not _hold(claimed):
            return LeaseLost()
        if not permanent and claimed.attempts < settings.INTERVIEW_TURN_ATTEMPTS:
            again = _in(max(_backoff(claimed.attempts), timedelta(seconds=min(after, LONGEST_BACKOFF))))
            _mine(claimed).update(
                status=TurnStatus.WAITING,
                lease_until=None,
                next_attempt_at=again,
                error=error,
                updated_at=_in(timedelta()),
                busy_ms=Least(F("busy_ms") + round(1000 * took), MAX_TOKENS),
                **_cost(usage),
            )
            due = Turn.objects.values_list("next_attempt_at", flat=True).get(pk=claimed.id)
            wake_turns(claimed.conversation_id, at=due)
            return Settled(TurnStatus.WAITING)
        reply = _say(claimed, apology, metadata={"failure": True}) if apology else None
        fates.record(claimed.input, Fate.FAILED, turn_id=claimed.id, rule=fates.SET_ASIDE if set_aside else "")
        _mine(claimed).update(
            status=TurnStatus.FAILED,
            lease_until=None,
            error=error,
            reply_id=reply.id if reply else None,
            finished_at=_in(timedelta()),
            updated_at=_in(timedelta()),
            **_cost(usage),
        )
        _wake_next(claimed.conversation_id)
        return Settled(TurnStatus.FAILED, reply)


def supersede(claimed: Claimed, draft: str) -> bool:
    """Hand the messages on at once where the person has written on; the rest of the draft is not worth its price."""
    if claimed.redrafts >= MOST_REDRAFTS or not ask(WRITTEN_ON, (claimed.conversation_id, claimed.id)):
        return False
    with transaction.atomic():
        return _hold(claimed) and _give_way(claimed, Replied(draft, trace={"cut_off": True}))


def charge(claimed: Claimed, usage: Usage) -> None:
    """Add what a draft had cost when it was cut off."""
    Turn.objects.filter(pk=claimed.id, status=TurnStatus.SUPERSEDED).update(**_cost(usage))


def retry(turn_id: UUID, *, by: str) -> None:
    """Run a failed turn once more, from its first attempt and with its whole budget.

    Where staff have the conversation the agent stays silent.
    """
    with transaction.atomic():
        turn = Turn.objects.filter(pk=turn_id).only("conversation_id").first()
        if turn is None:
            raise NothingToRetryError
        lock(turn.conversation_id)
        if not Conversation.objects.filter(pk=turn.conversation_id, mode=Mode.AUTO).exists():
            raise NothingToRetryError("The agent does not answer in this conversation now.")
        reopened = Turn.objects.filter(pk=turn_id, status=TurnStatus.FAILED).update(
            status=TurnStatus.WAITING,
            attempts=0,
            tokens_before_retry=Cast("input_tokens", BigIntegerField()) + F("output_tokens"),
            busy_ms=0,
            error="",
            finished_at=None,
            next_attempt_at=_in(timedelta()),
        )
        if not reopened:
            raise NothingToRetryError
        audit.record("turn.retry", by, ("turn", turn_id), {"conversation": str(turn.conversation_id)})
        wake_turns(turn.conversation_id)
    logger.info("turn retried by hand", turn=str(turn_id), by=by)


# --- settling, step by step ---


def _hold(claimed: Claimed) -> bool:
    return settling.hold(claimed.conversation_id, claimed.id, claimed.generation)


def _give_way(claimed: Claimed, outcome: Outcome) -> bool:
    """Did the person write on meanwhile? Then keep the answer as a draft: one later turn answers everything."""
    if claimed.redrafts >= MOST_REDRAFTS:
        return False
    into_turn, into_burst = settling.give_way(
        claimed.conversation_id,
        claimed.id,
        step=claimed.interview_step,
        messages=claimed.input,
        redrafts=claimed.redrafts + 1,
        window=window_of(claimed.conversation_id),
    )
    if into_turn is None and into_burst is None:
        return False
    settling.end(claimed.id, TurnStatus.SUPERSEDED, outcome, superseded_by=into_turn, draft=settling.text_of(outcome))
    if into_turn is not None:
        wake_turns(claimed.conversation_id)
    return True


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


def _wake_next(conversation_id: UUID) -> None:
    """A turn that had to wait for ours is looked at now; most often there is none, and no worker need look."""
    if Turn.objects.unfinished().filter(conversation_id=conversation_id).exists():
        wake_turns(conversation_id)


def _keep_draft(claimed: Claimed, outcome: Outcome) -> None:
    """An answer that came too late is not sent; what it said and cost is kept where nothing else is."""
    Turn.objects.filter(pk=claimed.id, status=TurnStatus.WITHDRAWN, draft="").update(
        draft=settling.text_of(outcome), trace=outcome.trace, **_cost(outcome.usage)
    )


def _mine(claimed: Claimed) -> Any:
    return Turn.objects.filter(pk=claimed.id, status=TurnStatus.RUNNING, generation=claimed.generation)


def _cost(usage: Usage) -> dict[str, Any]:
    """Tokens of one attempt, added to those of the attempts before it."""
    return {
        "input_tokens": Least(F("input_tokens") + usage.input_tokens, MAX_TOKENS),
        "output_tokens": Least(F("output_tokens") + usage.output_tokens, MAX_TOKENS),
    }


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
