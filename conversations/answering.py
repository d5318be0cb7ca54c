"""A turn, step by step: claim it, read what was said, ask the agent, settle.

Each step reads rows and writes rows; a process that dies between two of them leaves a lease that runs out, and the next
one begins again at the first.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import DatabaseError, DataError, connection

from agents import runtime
from agents.errors import UnacceptableInputError
from agents.outcomes import NOTHING, Outcome
from agents.runtime import AgentError, Request
from config import statements
from config.crash import crash_point
from config.queue.running import patiently
from conversations import dialogue, drafts, turns
from conversations.buffering import wake_turns
from conversations.drafts import Drafting
from conversations.models import TurnStatus
from conversations.presence import Presence
from conversations.turns import Busy, Claimed, Idle, LeaseLost, Settled

logger = structlog.get_logger(__name__)

WHOSE = "SELECT user_id, agent_id, agent_version, interview_step FROM conversations WHERE id = %s"
POISON = "Its process died, or lost the database, in every attempt."


def answer(conversation_id: UUID) -> Settled | LeaseLost | Busy | Idle:
    """Run the conversation's oldest unfinished turn once, whatever comes of it."""
    match turns.claim(conversation_id):
        case Busy(until) as busy:
            wake_turns(conversation_id, at=until)
            return busy
        case Idle() as idle:
            return idle
        case Claimed() as claimed:
            with structlog.contextvars.bound_contextvars(turn=str(claimed.id), attempt=claimed.attempts):
                return _run(claimed)


def _run(claimed: Claimed) -> Settled | LeaseLost:
    crash_point("after_claim")
    if claimed.attempts > settings.INTERVIEW_TURN_ATTEMPTS:  # nobody lived to count the attempts before
        return _given_up(claimed, POISON, permanent=True)
    drafting, begun, superseded = Drafting(claimed.id, claimed.conversation_id), time.monotonic(), threading.Event()
    try:
        with kept_alive(claimed, drafting, superseded) as ours:
            request = read(claimed, ours, drafting)
            outcome = ask(request)
        crash_point("before_commit")
        # An outage costs no second call of the model; where only the answer to COMMIT was lost, the turn is over.
        result = patiently(lambda: turns.settle(claimed, outcome))
        if superseded.is_set():
            turns.charge(claimed, outcome.usage)  # its last word came while the next burst took it over
        crash_point("after_commit")
    except Exception as error:
        if isinstance(error, DatabaseError) and not isinstance(error, DataError):
            raise  # the queue tries again when the database is back; the lease says from when
        result = _cut_off(claimed, error) if superseded.is_set() else _failed(claimed, error, begun)
    _tell(claimed, result)
    return result


def read(claimed: Claimed, ours: threading.Event, drafting: Drafting) -> Request:
    """Everything the agent may know: who it is, what was said before, and the burst with its corrections."""
    [(user_id, agent_id, pinned, step)] = statements.ask(WHOSE, (claimed.conversation_id,))
    burst_ids = {message["message_id"] for message in claimed.input}
    corrections = {id_ for message in claimed.input for id_ in message.get("edits", ())}
    history = dialogue.before(
        claimed.conversation_id, burst=burst_ids | corrections, limit=settings.INTERVIEW_HISTORY_LIMIT
    )
    return Request(
        turn_id=claimed.id,
        conversation_id=claimed.conversation_id,
        user_id=user_id,
        agent_id=agent_id,
        interview_step=claimed.interview_step,
        late=claimed.interview_step < step,
        history=history,
        burst=[message["content"] for message in claimed.input],
        still_ours=ours.is_set,
        message_ids=[UUID([message["message_id"], *message.get("edits", ())][-1]) for message in claimed.input],
        pinned=pinned,
        first_run=claimed.generation == 1,
        spent_tokens=claimed.spent_tokens,
        spent_seconds=claimed.spent_seconds,
        last_run=claimed.attempts >= settings.INTERVIEW_TURN_ATTEMPTS,
        draft=drafting.hear,
    )


def ask(request: Request) -> Outcome:
    crash_point("before_llm")
    outcome = runtime.run(request)
    crash_point("after_llm")
    return outcome


@contextmanager
def kept_alive(claimed: Claimed, drafting: Drafting, superseded: threading.Event) -> Iterator[threading.Event]:
    """Renew the lease and store the draft while the agent thinks; the event is cleared when the turn is not ours."""
    ours, over = threading.Event(), threading.Event()
    ours.set()
    threads = (claimed, drafting, ours, over, superseded)
    thread = threading.Thread(target=_beat, args=threads, name="turn-lease", daemon=True)
    thread.start()
    try:
        yield ours
    finally:
        over.set()
        thread.join()


def _beat(
    claimed: Claimed, drafting: Drafting, ours: threading.Event, over: threading.Event, superseded: threading.Event
) -> None:
    """In a thread with a connection of its own, which is opened only for a turn that takes a while."""
    renewed = time.monotonic()
    presence = Presence(claimed.conversation_id)
    try:
        while not over.wait(drafts.TELL_EVERY):
            try:
                presence.show()
                drafting.tell()
                if turns.supersede(claimed, drafting.text):
                    superseded.set()
                    ours.clear()
                    break
                if time.monotonic() - renewed >= settings.INTERVIEW_TURN_LEASE / 3:
                    renewed = time.monotonic()
                    if not turns.renew(claimed):
                        ours.clear()
                        return
            except DatabaseError:
                connection.close()  # it may be back for the next beat; settling is fenced either way
        with suppress(DatabaseError):
            drafting.forget()
    finally:
        connection.close()


def _cut_off(claimed: Claimed, error: Exception) -> Settled:
    """The person has written on: a later turn answers everything, and this draft costs what it has cost so far."""
    turns.charge(claimed, getattr(error, "usage", NOTHING))
    return Settled(TurnStatus.SUPERSEDED)


def _failed(claimed: Claimed, error: Exception, begun: float) -> Settled | LeaseLost:
    permanent = bool(getattr(error, "permanent", not isinstance(error, AgentError) and claimed.attempts > 1))
    logger.warning("turn failed", reason=type(error).__name__, permanent=permanent, exc_info=error)
    return _given_up(
        claimed,
        f"{type(error).__name__}: {error}"[:2000],
        permanent=permanent,
        after=getattr(error, "retry_after", None) or 0.0,
        usage=getattr(error, "usage", NOTHING),
        took=time.monotonic() - begun,
        set_aside=isinstance(error, UnacceptableInputError),
    )


def _given_up(claimed: Claimed, reason: str, *, permanent: bool, **known: Any) -> Settled | LeaseLost:
    """Schedule a retry, or mark the turn failed and send the `on_failure` text of the conversation's agent."""
    [(_user, agent_id, _version, _step)] = statements.ask(WHOSE, (claimed.conversation_id,))
    apology = runtime.on_failure(agent_id, [message["content"] for message in claimed.input])
    return turns.fail(claimed, reason, permanent=permanent, apology=apology, **known)


def _tell(claimed: Claimed, result: Settled | LeaseLost) -> None:
    if isinstance(result, LeaseLost):
        logger.warning("lease lost", generation=claimed.generation)
    else:
        logger.info("turn settled", status=str(result.status), messages=len(claimed.input))
