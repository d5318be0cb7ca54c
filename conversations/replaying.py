"""Storing what a bot heard and said while its database was away: in order, once, and without a second answer.

Each answered burst is one transaction: messages, the turn that tells of it, the reply, what became of its parts. All of
it is named after the journal, so a replay that was killed begins again at the first line and finds what is there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import structlog
from django.db import InterfaceError, InternalError, OperationalError, connection, transaction

from agents import audit
from config.columns import clock
from config.crash import crash_point
from conversations import burst, fates, log, outbox, sessions
from conversations.buffering import lock
from conversations.journal import Journal, Record
from conversations.models import Conversation, Fate, Trigger, Turn, TurnStatus

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Heard:
    """What a person said, so far as it can be known without a database."""

    user_id: int
    chat_id: int | None
    external_id: str
    content: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    where: Mapping[str, Any] = field(default_factory=dict)  # what the transport needs beside the chat


@dataclass
class Done:
    """What came of a journal."""

    minutes: float
    updates: int = 0
    answers: int = 0
    rejected: int = 0
    damaged: int = 0

    def as_told(self) -> dict[str, Any]:
        return asdict(self)


def is_away(error: BaseException) -> bool:
    """Does the database not answer, or take no writes? A broken rule is no outage."""
    if isinstance(error, InternalError):
        return getattr(error.__cause__, "sqlstate", None) == "25006"  # read only: it recovers, or its disk is full
    return isinstance(error, (OperationalError, InterfaceError))


def store(journal: Journal, take: Callable[[dict[str, Any]], object], place: Callable[[dict[str, Any]], UUID]) -> Done:
    """Put the whole journal into the database; `take` does an update, `place` only finds its conversation.

    Raises on an outage, and may then be called again.
    """
    ended_at = datetime.now(UTC)
    done = Done(minutes=round((ended_at - journal.began_at).total_seconds() / 60, 1), damaged=journal.damaged)
    answers, members = _answers(journal)
    for number, record in _updates(journal).items():
        answer = answers.get(members.get(number, -1))
        try:
            if answer is None:
                take(record["update"])
            elif answer["first"] == number:
                done.answers += 1
                _store_answered(journal, answer, place)
        except Exception as error:
            if is_away(error):
                raise
            logger.error("update of the outage refused", number=number, reason=type(error).__name__, exc_info=error)
            journal.reject(record, f"{type(error).__name__}: {error}"[:500])
            done.rejected += 1
        done.updates += 1
        crash_point("in_replay")
    _put_on_record(journal, done, ended_at)
    crash_point("after_replay")
    return done


def _updates(journal: Journal) -> dict[int, Record]:
    return {record["n"]: record for record in journal.records if record["kind"] == "update"}


def _answers(journal: Journal) -> tuple[dict[int, Record], dict[int, int]]:
    """The answers by the update at which each is stored, with what became of their parts; and whose update is whose."""
    updates, sent = _updates(journal), [record for record in journal.records if record["kind"] == "sent"]
    answers: dict[int, Record] = {}
    members: dict[int, int] = {}
    for record in journal.records:
        if record["kind"] != "answer":
            continue
        said = [number for number in record["burst"] if number in updates]
        if not said:
            continue  # their lines cannot be read; they are counted as damaged
        results = {result["part"]: result for result in sent if result["of"] == record["burst"][0]}
        answers[said[0]] = {**record, "first": said[0], "said": [updates[n] for n in said], "results": results}
        members |= dict.fromkeys(said, said[0])
    return answers, members


@transaction.atomic
def _store_answered(journal: Journal, answer: Record, place: Callable[[dict[str, Any]], UUID]) -> None:
    said = [(Heard(**record["heard"]), record["at"]) for record in answer["said"]]
    places = [place(record["update"]) for record in answer["said"]]
    conversation = sessions.get(places[0])
    lock(conversation.id)
    entries = [
        log.append(
            conversation.id,
            "user",
            heard.content,
            metadata={**heard.metadata, "journal": str(journal.id), "said_at": at},
            external_id=heard.external_id,
            inbound=True,
        )
        for heard, at in said
    ]
    # What is stored already came in before the database went: the turn it waits for answers it once more.
    fresh = [entry for entry in entries if not entry.repeated]
    turn = _turn(journal, conversation, fresh, answer) if fresh else None
    reply = log.append(
        conversation.id,
        "assistant",
        answer["text"],
        metadata={"journal": str(journal.id), "said_at": answer["at"]},
        external_id=json.dumps(["journal", str(journal.id), answer["first"]]),
        turn_id=turn.id if turn else None,
        agent_version=answer["version"],
    )
    if turn is not None:
        Turn.objects.filter(pk=turn.id).update(reply_id=reply.id)
        fates.record(turn.input, Fate.ANSWERED, turn_id=turn.id)
    if not reply.repeated:
        _record_parts(conversation.id, reply.id, journal.channel, answer)


def _turn(journal: Journal, conversation: Conversation, entries: list[log.Entry], answer: Record) -> Turn:
    """The turn that tells of it: done before it was stored."""
    messages = [
        {
            "message_id": str(entry.id),
            "message_index": entry.message_index,
            "content": entry.content,
            "at": entry.created_at.isoformat(),
            "question_context": None,
        }
        for entry in entries
    ]
    first = entries[0].message_index
    return Turn.objects.create(
        conversation=conversation,
        interview_step=conversation.interview_step,
        flush_id=burst.flush_id(conversation.user_id, str(conversation.id), conversation.interview_step, first),
        trigger=Trigger.IMMEDIATE,
        status=TurnStatus.DONE,
        input=messages,
        attempts=1,
        agent_version=answer["version"],
        trace={
            "outcome": "replied",
            "agent": answer["agent"],
            "agent_version": answer["version"],
            "journal": str(journal.id),
            "reason": "answered while the database was away, without history and tools",
        },
        started_at=clock(),
        finished_at=clock(),
    )


RECORD_PART = """
INSERT INTO deliveries (message_id, channel, part, begins, ends, status, attempts, external_id, error, sent_at)
VALUES (%(message)s, %(channel)s, %(part)s, %(begins)s, %(ends)s, %(status)s, %(attempts)s, %(external_id)s, %(error)s,
    CASE WHEN %(status)s = 'sent' THEN clock_timestamp() END)
"""
UNTOLD = {"status": "unknown", "external_id": "", "error": "The bot died while it was sending this."}
UNTRIED = {"status": "pending", "external_id": "", "error": ""}


def _record_parts(conversation_id: UUID, message_id: UUID, channel: str, answer: Record) -> None:
    """As the journal tells: the first part without a result may or may not have been sent, those behind it were not."""
    results = answer["results"]
    with connection.cursor() as cursor:
        for part, (begins, ends) in enumerate(answer["parts"]):
            result = results.get(part) or (UNTOLD if part == len(results) and _went_on(results) else UNTRIED)
            values: dict[str, Any] = {key: result[key] for key in ("status", "external_id", "error")}
            values |= {"message": message_id, "channel": channel, "part": part, "begins": begins, "ends": ends}
            cursor.execute(RECORD_PART, {**values, "attempts": int(result is not UNTRIED)})
            if result["status"] == "pending":
                outbox.wake(conversation_id, channel)


def _went_on(results: Mapping[int, Record]) -> bool:
    return all(result["status"] == "sent" for result in results.values())


TOLD = """
INSERT INTO outages (id, channel, account, began_at, ended_at, updates, answers, rejected, damaged)
VALUES (%(id)s, %(channel)s, %(account)s, %(began_at)s, greatest(%(began_at)s, %(ended_at)s), %(updates)s, %(answers)s,
    %(rejected)s, %(damaged)s)
ON CONFLICT (id) DO NOTHING
"""


@transaction.atomic
def _put_on_record(journal: Journal, done: Done, ended_at: datetime) -> None:
    """Staff learn of it from the start page, the list of outages and the record; once, however often this runs."""
    values = {
        "id": journal.id, "channel": journal.channel, "account": journal.account[:100], "began_at": journal.began_at,
        "ended_at": ended_at, **done.as_told(),
    }  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(TOLD, values)
        if cursor.rowcount:
            told = {"channel": journal.channel, "account": journal.account, **done.as_told()}
            audit.record("outage.stored", f"bot {journal.channel}", ("outage", journal.id), told)
