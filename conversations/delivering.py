"""Sending: the next part of a conversation is claimed under a lease, handed over once, and what came of it is recorded.

`sending` is committed before the call and the result after it, so a sender that dies between the two leaves a row that
nobody calls sent, and nobody sends again by himself: it is `unknown`, and staff decide (docs/adr/0090).
"""

from __future__ import annotations

import json
import os
import random
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Protocol, runtime_checkable
from uuid import UUID

import structlog
from django.conf import settings
from django.db import connection, transaction

from config.crash import crash_point
from config.queue.running import patiently
from config.statements import ask
from conversations import channels, parts
from conversations.channels import (
    Address,
    ChannelUnavailableError,
    Later,
    Lost,
    Refused,
    Result,
    Sent,
    Stop,
    Transport,
    UnknownChannelError,
)
from conversations.outbox import wake

logger = structlog.get_logger(__name__)

LEASE = 60.0  # seconds a part may be under way before it counts as unknown
SURELY = 25.0  # seconds of it that may be over when the call begins: a transport ends its own after 30 at the latest
GO_ON = 20.0  # seconds one wake-up sends for; then others have their turn
UNAVAILABLE_FOR = 60  # seconds until a channel that cannot be used here is tried again
LONGEST_BACKOFF = 300.0  # seconds between two attempts at one part
LONGEST_PAUSE = 60  # seconds between two probes of a channel that cannot be reached
LOOK_EVERY = 0.5  # seconds between two looks of a bot that sends for itself


@dataclass(frozen=True, slots=True)
class Claimed:
    """A part that is ours to send until the lease ends."""

    id: UUID
    generation: int
    attempts: int
    message_id: UUID
    part: int
    text: str
    began: float  # monotonic

    @property
    def key(self) -> str:
        return json.dumps([str(self.message_id), self.part])


@dataclass(frozen=True, slots=True)
class Uncut:
    """A message that may be longer than a part, and has to be looked at first."""

    id: UUID
    text: str


@dataclass(frozen=True, slots=True)
class Busy:
    """There is something to send, and not now."""

    until: datetime


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing is left to send."""


@runtime_checkable
class Paced(Protocol):
    """A transport whose other side takes only so much at a time."""

    def gaps(self, address: Address) -> tuple[timedelta, timedelta]:
        """Between two parts to this chat, and between any two parts."""


CLAIM = (
    "SELECT verdict, wait_until, id, generation, attempts, message_id, part, body, lost"
    " FROM claim_delivery(%s, %s, %s, %s, %s, %s)"
)
ADDRESS = "SELECT channel, chat_id, user_id, metadata::text FROM conversations WHERE id = %s"


def deliver(conversation_id: UUID, transport: Transport | None = None) -> Busy | Idle:
    """Send what the conversation has to send, in order, until nothing is left or something has to wait."""
    found = _address(conversation_id)
    if found is None:
        return Idle()  # erased meanwhile
    channel, address = found
    try:
        transport = transport or transport_of(channel)
    except UnknownChannelError as error:
        _refuse_all(conversation_id, str(error))
        return Idle()
    except ChannelUnavailableError as error:
        return _postpone(conversation_id, channel, str(error))
    until = time.monotonic() + GO_ON
    while True:
        match claim(transport, address):
            case Idle() as idle:
                return idle
            case Busy(when) as busy:
                wake(conversation_id, channel, at=when)
                return busy
            case Uncut() as uncut:
                keep_cut(uncut, transport.limit)
            case Claimed() as claimed:
                record(claimed, hand_over(claimed, transport, address), channel, address)
        if time.monotonic() > until:
            wake(conversation_id, channel)
            return Busy(datetime.now().astimezone())


def claim(transport: Transport, address: Address) -> Claimed | Uncut | Busy | Idle:
    """Take the next part of the conversation in one statement, if its time has come and nobody has it."""
    began = time.monotonic()
    chat_gap, bot_gap = transport.gaps(address) if isinstance(transport, Paced) else (timedelta(), timedelta())
    patience = timedelta(seconds=settings.DELIVERY_UNKNOWN_PATIENCE)
    values = (address.conversation_id, transport.limit, timedelta(seconds=LEASE), patience, chat_gap, bot_gap)
    [(verdict, until, id_, generation, attempts, message_id, part, body, lost)] = ask(CLAIM, values)
    if lost:
        logger.error("delivery lost its sender", conversation=str(address.conversation_id), parts=lost)
    match verdict:
        case "take":
            return Claimed(id_, generation, attempts, message_id, part, body, began)
        case "cut":
            return Uncut(id_, body)
        case "busy":
            return Busy(until)
    return Idle()


def keep_cut(uncut: Uncut, limit: int) -> None:
    """Write down where the parts begin and end; who comes later resumes at the one that failed."""
    places = parts.cut(uncut.text, limit)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "UPDATE deliveries SET begins = %s, ends = %s WHERE id = %s AND ends IS NULL AND status = 'pending'",
            [*places[0], uncut.id],
        )
        if cursor.rowcount and len(places) > 1:
            cursor.execute(ADD_PARTS, [json.dumps([[n, *at] for n, at in enumerate(places)][1:]), uncut.id])


ADD_PARTS = """
INSERT INTO deliveries (message_id, channel, part, begins, ends)
SELECT message_id, channel, (place ->> 0)::int, (place ->> 1)::int, (place ->> 2)::int
FROM deliveries, jsonb_array_elements(%s::jsonb) AS place WHERE deliveries.id = %s
"""


def hand_over(claimed: Claimed, transport: Transport, address: Address) -> Result:
    """Call the transport once. Whatever it raises is a bug that says nothing of what the other side has."""
    crash_point("before_send")
    if time.monotonic() - claimed.began > SURELY:
        return Later(0.0, "The sender was held up and did not begin.")
    try:
        result = transport.send(address, claimed.text, key=claimed.key)
    except Exception as error:  # any bug of any transport: the row must not stay ours
        logger.exception("transport failed", delivery=str(claimed.id))
        result = Lost(f"{type(error).__name__} in the transport")
    crash_point("after_send")
    return result


def record(claimed: Claimed, result: Result, channel: str, address: Address) -> bool:
    """Write down what came of it, through an outage of the database if need be; False where it is no longer ours."""
    kept = patiently(lambda: _record(claimed, result, channel, address))
    told = {"delivery": str(claimed.id), "channel": channel, "attempts": claimed.attempts}
    match result:
        case Sent():
            logger.info("delivery sent", kept=kept, **told)
        case Refused(reason) | Later(reason=reason) | Lost(reason):
            logger.warning("delivery " + type(result).__name__.lower(), kept=kept, reason=reason[:200], **told)
    return kept


def _record(claimed: Claimed, result: Result, channel: str, address: Address) -> bool:
    with transaction.atomic():
        match result:
            case Sent(external_id):
                kept = _change(claimed, SENT, external_id=external_id[:255])
                _channel_answers(channel)
            case Lost(reason):
                wait = timedelta(seconds=settings.DELIVERY_UNKNOWN_PATIENCE)
                kept = _change(claimed, UNKNOWN, error=reason[:2000], wait=wait)
            case Later(after, reason) if claimed.attempts < settings.DELIVERY_ATTEMPTS:
                wait = timedelta(seconds=max(after, _backoff(claimed.attempts)))
                kept = _change(claimed, LATER, error=reason[:2000], wait=wait)
                _pause(result, channel, address)
            case Refused(reason, True):
                kept = _change(claimed, GONE, error=reason[:2000], channel=channel)
                _fail_rest(claimed, kept, settled_by=channel)
            case Refused(reason) | Later(reason=reason):
                kept = _change(claimed, FAILED, error=reason[:2000])
                _fail_rest(claimed, kept)
        return kept


# Late news of an unknown part is news. A decision of staff and the next claim raise the generation: then it is not.
OURS = " WHERE id = %(id)s AND generation = %(generation)s AND status IN ('sending', 'unknown')"
NOW = ", lease_until = NULL, updated_at = clock_timestamp()"
SENT = "UPDATE deliveries SET status = 'sent', external_id = %(external_id)s, error = '', sent_at = clock_timestamp()"
UNKNOWN = "UPDATE deliveries SET status = 'unknown', error = %(error)s, next_attempt_at = clock_timestamp() + %(wait)s"
LATER = "UPDATE deliveries SET status = 'pending', error = %(error)s, next_attempt_at = clock_timestamp() + %(wait)s"
FAILED = "UPDATE deliveries SET status = 'failed', error = %(error)s"
# Nobody of the staff can bring back a person who blocked the bot: that is seen, and waits for no decision.
GONE = FAILED + ", resolved_at = clock_timestamp(), resolved_by = %(channel)s"
# A known hole in a text is not followed by the rest of it.
FAIL_REST = """
UPDATE deliveries SET status = 'failed', error = 'An earlier part of the message was not delivered.',
    resolved_at = CASE WHEN %(by)s <> '' THEN clock_timestamp() END, resolved_by = %(by)s,
    updated_at = clock_timestamp()
WHERE message_id = %(message)s AND part > %(part)s AND status = 'pending'
"""


def _change(claimed: Claimed, change: str, **values: Any) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(change + NOW + OURS, {"id": claimed.id, "generation": claimed.generation, **values})
        return bool(cursor.rowcount)


def _fail_rest(claimed: Claimed, kept: bool, *, settled_by: str = "") -> None:
    if kept:
        values: dict[str, Any] = {"message": claimed.message_id, "part": claimed.part, "by": settled_by}
        with connection.cursor() as cursor:
            cursor.execute(FAIL_REST, values)


# --- the pace of a channel ---


# One chat that was told to wait is its own affair; a second one at the same time means all of us.
REFUSED_TOO = """
SELECT EXISTS (SELECT FROM delivery_gates
    WHERE channel = %(channel)s AND chat_id NOT IN (0, %(chat)s) AND paused_until > clock_timestamp())
"""
PAUSE_CHAT = """
INSERT INTO delivery_gates AS gate (channel, chat_id, paused_until)
VALUES (%(channel)s, %(chat)s, clock_timestamp() + %(after)s)
ON CONFLICT (channel, chat_id) DO UPDATE SET paused_until = greatest(gate.paused_until, EXCLUDED.paused_until)
"""
# One or two connections break every day; from the third in a row on we ask less and less often.
PAUSE_ALL = """
INSERT INTO delivery_gates AS gate (channel, chat_id, paused_until, failures)
VALUES (%(channel)s, 0, clock_timestamp() + %(after)s, 1)
ON CONFLICT (channel, chat_id) DO UPDATE SET
    failures = gate.failures + (gate.paused_until <= clock_timestamp())::int,
    paused_until = greatest(gate.paused_until, clock_timestamp() + greatest(%(after)s,
        CASE WHEN gate.failures < 2 THEN 0 ELSE least(%(longest)s, 2 ^ least(gate.failures - 2, 10)) END
        * interval '1 second'))
"""


def _pause(later: Later, channel: str, address: Address) -> None:
    values: dict[str, Any] = {
        "channel": channel,
        "chat": address.user_id if address.chat_id is None else address.chat_id,
        "after": timedelta(seconds=later.after),
        "longest": LONGEST_PAUSE,
    }
    with connection.cursor() as cursor:
        if not later.everybody and later.after:
            cursor.execute(PAUSE_CHAT, values)
            cursor.execute(REFUSED_TOO, values)
            if not cursor.fetchone()[0]:
                return
        if later.everybody or later.after:
            cursor.execute(PAUSE_ALL, values)
            logger.warning("channel in trouble", channel=channel, reason=later.reason[:200])


def _channel_answers(channel: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE delivery_gates SET failures = 0 WHERE channel = %s AND chat_id = 0 AND failures > 0", [channel]
        )


def _backoff(attempts: int) -> float:
    """Twice as long each time, within a quarter more or less, so that a crowd does not come back as a crowd."""
    seconds = min(LONGEST_BACKOFF, settings.DELIVERY_BACKOFF * 2 ** (attempts - 1))
    return float(seconds * random.uniform(0.75, 1.25))  # noqa: S311  jitter, not a secret


# --- who is sent to, and by what ---


def address_of(conversation_id: UUID) -> tuple[str, Address] | None:
    """The conversation's channel, and where its person is there."""
    return _address(conversation_id)


def transport_of(channel: str) -> Transport:
    """The channel's transport in this process."""
    return _connected(channel, os.getpid())


@cache
def _connected(channel: str, _pid: int) -> Transport:
    """Once per process: a connection must not be shared with the one we were forked from."""
    return channels.channel(channel).transport()


def _address(conversation_id: UUID) -> tuple[str, Address] | None:
    rows = ask(ADDRESS, (conversation_id,))
    if not rows:
        return None
    channel, chat_id, user_id, metadata = rows[0]
    return channel, Address(chat_id, user_id, conversation_id, json.loads(metadata))


def _postpone(conversation_id: UUID, channel: str, reason: str) -> Busy:
    """The channel cannot be used from here: record it on the row, and try again; nothing was lost.

    What is missing is for operators and goes to the log: the row is shown in the customer's transcript.
    """
    logger.error("channel unavailable", conversation=str(conversation_id), channel=channel, reason=reason)
    shown = f"{channel} is not set up here: the log of the worker tells operators what is missing."
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE deliveries SET next_attempt_at = clock_timestamp() + %s * interval '1 second', error = %s,"
            " updated_at = clock_timestamp() WHERE conversation_id = %s AND status = 'pending'",
            [UNAVAILABLE_FOR, shown, conversation_id],
        )
    return Busy(datetime.now().astimezone() + timedelta(seconds=UNAVAILABLE_FOR))


def _refuse_all(conversation_id: UUID, reason: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE deliveries SET status = 'failed', error = %s, updated_at = clock_timestamp()"
            " WHERE conversation_id = %s AND status = 'pending'",
            [reason[:2000], conversation_id],
        )


# --- bots that send for themselves ---

DUE = """
SELECT DISTINCT conversation_id FROM deliveries WHERE channel = %s AND (
    (status = 'pending' AND next_attempt_at <= clock_timestamp())
    OR (status = 'sending' AND lease_until <= clock_timestamp()))
LIMIT 100
"""


def serve(channel: str, transport: Transport, stop: Stop) -> None:
    """Send what a channel's conversations have to send until asked to stop: for channels no worker can send through.

    An outage of the database is the caller's affair: it is raised, and nothing is lost by calling this again.
    """
    while not stop.wait(LOOK_EVERY):
        for (conversation_id,) in ask(DUE, (channel,)):
            deliver(conversation_id, transport)
            if stop.asked:
                return
