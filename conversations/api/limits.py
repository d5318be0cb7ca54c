"""How much one key may ask in a minute, counted for all processes together (ADR 0042), and how many streams it opens.

A process draws calls from the shared count by the handful and spends them from memory, so that almost no request
writes. What a process drew and did not spend is lost at the end of the minute: many processes allow a little less than
the limit, never more. Open streams are counted by each process for itself: what a crash leaves behind is no stream.
"""

import math
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from weakref import WeakSet

import psycopg
import structlog
from django.db import DatabaseError, OperationalError, connection
from django.http import StreamingHttpResponse

from conversations.api.errors import ApiError

logger = structlog.get_logger(__name__)

HANDFULS = 50  # one draw is a fiftieth of the limit
REMEMBERED = 10_000  # keys and addresses a process keeps in mind
READ_ONLY_SECONDS = 10.0  # how long a handful lasts while the database takes no writes

# The sweep leaves the caller's own row alone: one statement may not change a row twice.
DRAW = """
WITH swept AS (
    DELETE FROM api_spending WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM api_spending
        WHERE ends_at < statement_timestamp() - interval '1 minute' AND (kind, subject) <> (%(kind)s, %(subject)s)
        ORDER BY ends_at LIMIT 10 FOR UPDATE SKIP LOCKED))
)
INSERT INTO api_spending AS known (kind, subject, spent, ends_at)
VALUES (%(kind)s, %(subject)s, %(handful)s, statement_timestamp() + interval '1 minute')
ON CONFLICT (kind, subject) DO UPDATE SET
    spent = CASE WHEN known.ends_at <= statement_timestamp() THEN 0 ELSE known.spent END + excluded.spent,
    ends_at = CASE WHEN known.ends_at <= statement_timestamp() THEN excluded.ends_at ELSE known.ends_at END
RETURNING spent, greatest(extract(epoch FROM ends_at - statement_timestamp()), 0)::float8
"""


@dataclass(slots=True)
class Purse:
    """Calls drawn and not spent yet; `dry` when the shared count is used up."""

    calls: int
    ends: float  # by the monotonic clock
    dry: bool


class Stream(StreamingHttpResponse):
    """Server-sent events for one key, counted until it is closed, or collected where nobody closed it."""

    def __init__(self, events: AsyncIterator[bytes], subject: str) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(events, content_type="text/event-stream", headers=headers)
        self.subject = subject

    def close(self) -> None:
        with _lock:
            if streams := _streams.get(self.subject):
                streams.discard(self)
                if not streams:
                    del _streams[self.subject]
        super().close()


_streams: dict[str, WeakSet[Stream]] = {}
_purses: dict[tuple[str, str], Purse] = {}
_lock = threading.Lock()


def spend(kind: str, subject: str, limit: int) -> int:
    """Take one call: 0 where it may go on, else the seconds until it may."""
    if limit <= 0:
        return 0
    with _lock:
        wait = _from_purse(kind, subject)
    if wait is not None:
        return wait
    handful = max(1, limit // HANDFULS)
    drawn, seconds = _draw(kind, subject, handful, limit)
    with _lock:
        _remember(kind, subject, drawn, seconds)
        return _from_purse(kind, subject) or 0


def allow(kind: str, subject: str, *, limit: int) -> None:
    """Take one call or refuse it with 429."""
    if seconds := spend(kind, subject, limit):
        raise ApiError(
            429,
            "too_many_requests",
            f"More than {limit} calls a minute. Try again in {seconds} s.",
            headers={"Retry-After": str(seconds)},
        )


def stream(subject: str, events: AsyncIterator[bytes], *, limit: int) -> Stream:
    """The response that streams these events, or 429 where this process serves as many to this key already."""
    response = Stream(events, subject)
    with _lock:
        streams = _streams.setdefault(subject, WeakSet())
        if 0 < limit <= len(streams):
            raise ApiError(429, "too_many_streams", f"This key has {limit} streams open. Close one of them first.")
        streams.add(response)
    return response


def _from_purse(kind: str, subject: str) -> int | None:
    """None where the purse is empty and the shared count must be asked."""
    purse, now = _purses.get((kind, subject)), time.monotonic()
    if purse is None or purse.ends <= now:
        return None
    if purse.calls > 0:
        purse.calls -= 1
        return 0
    return max(1, math.ceil(purse.ends - now)) if purse.dry else None


def _remember(kind: str, subject: str, drawn: int, seconds: float) -> None:
    now = time.monotonic()
    if len(_purses) >= REMEMBERED:
        for known in [known for known, purse in _purses.items() if purse.ends <= now]:
            del _purses[known]
        if len(_purses) >= REMEMBERED:
            _purses.clear()
    purse = _purses.get((kind, subject))
    if purse is None or purse.ends <= now:
        purse = _purses[(kind, subject)] = Purse(0, now + seconds, dry=False)
    purse.calls += drawn
    purse.dry = drawn == 0


def _draw(kind: str, subject: str, handful: int, limit: int) -> tuple[int, float]:
    """A handful from the shared count, or what is left of it, and the seconds until it starts again."""
    values: dict[str, str | int] = {"kind": kind, "subject": subject, "handful": handful}
    try:
        with connection.cursor() as cursor:
            cursor.execute(DRAW, values)
            spent, seconds = cursor.fetchone()
    except OperationalError:
        raise
    except DatabaseError as error:
        if not isinstance(error.__cause__, psycopg.errors.ReadOnlySqlTransaction):
            raise
        logger.warning("calls not counted", kind=kind, reason="read-only database")
        return handful, READ_ONLY_SECONDS
    return min(max(limit - (spent - handful), 0), handful), seconds
