"""What happens to a row of `queue_tasks`: every statement of the queue, each fenced by the claim it belongs to.

All times are the database's. Claims and starts do not wait for the disk: where PostgreSQL forgets the last of them in a
crash, the row is simply claimed again. What ends a task does wait, or tasks that were done would run again.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.db import IntegrityError, connection, transaction

from config.queue import signing
from config.queue.registry import Task

log = structlog.get_logger(__name__)

CHANNEL = "parley_queue"
POLL = 0.5  # seconds a sleeping pusher waits at most; what is due later needs no notification
CLAIM_LEASE = 30  # seconds from claim to start: the way through django-q2's queue to a free process
MARGIN = 10  # seconds of lease beyond the task's own timeout; django-q2's guard kills at 3
BACKOFF, BACKOFF_LIMIT = 1.0, 300.0  # seconds before the second attempt, doubled per attempt, and at most
ERROR_LIMIT = 4000  # characters of a reason that are kept


@dataclass(frozen=True)
class Claim:
    """Our right to run a row: it ends when anybody else claims it."""

    id: int
    generation: int


@dataclass(frozen=True)
class Claimed:
    """A row just claimed, or, where its attempts are spent, just given up."""

    claim: Claim
    name: str
    timeout: int
    state: str
    attempts: int


@dataclass(frozen=True)
class Started:
    """What a claim runs."""

    name: str
    args: str
    key_id: str
    signature: str
    request_id: str
    attempts: int
    late_ms: float


@dataclass(frozen=True)
class Place:
    """Who runs: the worker's row, and the process in it."""

    worker_id: int
    pid: int


ENQUEUE = "SELECT id, added FROM defer_task(%(task)s::text[], coalesce(%(at)s, clock_timestamp() + %(wait)s))"


def enqueue(signed: list[str | None], at: datetime | timedelta | None) -> int | None:
    """Write the row in the caller's transaction; None where one of this key already waits (it moves forward only)."""
    values: dict[str, Any] = {
        "task": signed,
        "at": at if isinstance(at, datetime) else None,
        "wait": at if isinstance(at, timedelta) else timedelta(),
    }
    with connection.cursor() as cursor:
        cursor.execute(ENQUEUE, values)
        written: tuple[int | None, bool | None] = cursor.fetchone()
    id_, added = written
    return id_ if added else None


def sign(task: Task, args: tuple[Any, ...], *, key: object, request_id: str) -> list[str | None]:
    """What `defer_task` takes."""
    encoded = signing.encode(task.name, args)
    key_id, signature = signing.sign(task.name, encoded)
    return [
        task.name, encoded, None if key is None else signing.encode_key(key), str(task.attempts), str(task.timeout),
        request_id, key_id, signature, CHANNEL, f"{POLL} s",
    ]  # fmt: skip


# A claim that never started gives its attempt back; one whose owner died in the task is counted, and given up after the
# last. The generation is a time, so that a claim PostgreSQL forgot in a crash can never be mistaken for a later one.
CLAIM = """
WITH candidate AS (
    SELECT id, state = 'leased' AND started_at IS NULL AS never_started FROM queue_tasks
    WHERE state IN ('waiting', 'leased') AND coalesce(lease_until, due_at) <= statement_timestamp()
    ORDER BY coalesce(lease_until, due_at), id
    LIMIT 1 FOR UPDATE SKIP LOCKED
), next AS (
    SELECT candidate.*, attempts >= max_attempts AND NOT never_started AS spent
    FROM candidate JOIN queue_tasks USING (id)
)
UPDATE queue_tasks AS task SET
    state = CASE WHEN spent THEN 'dead' ELSE 'leased' END,
    lease_until = CASE WHEN NOT spent THEN clock_timestamp() + %(lease)s END,
    attempts = attempts + CASE WHEN spent OR never_started THEN 0 ELSE 1 END,
    generation = greatest(generation + 1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint),
    worker_id = %(worker)s, pid = NULL, started_at = NULL,
    error = CASE WHEN spent AND error = '' THEN 'Its worker went away in every attempt.' ELSE error END
FROM next WHERE task.id = next.id
RETURNING task.id, generation, name, timeout, state, attempts
"""

# Seconds until the next row may be claimed: negative where somebody holds it locked.
NEXT = """
SELECT extract(epoch FROM coalesce(lease_until, due_at) - clock_timestamp())::float8 FROM queue_tasks
WHERE state IN ('waiting', 'leased') ORDER BY coalesce(lease_until, due_at), id LIMIT 1
"""


def claim(cursor: Any, worker_id: int) -> Claimed | None:
    """The next due row, leased to us in one statement, or None."""
    cursor.execute(CLAIM, {"lease": timedelta(seconds=CLAIM_LEASE), "worker": worker_id})
    row = cursor.fetchone()
    if row is None:
        return None
    claimed = Claimed(Claim(row[0], row[1]), *row[2:])
    if claimed.state == "dead":
        log.error("task given up", task=claimed.name, task_id=claimed.claim.id, attempts=claimed.attempts)
    return claimed


def next_due_in(cursor: Any) -> float | None:
    """Seconds until something can be claimed, or None where nothing waits."""
    cursor.execute(NEXT)
    row = cursor.fetchone()
    return None if row is None else float(row[0])


# Committed without waiting for the disk, for this statement only: the task's own transactions keep their promise.
QUICKLY = "WITH quickly AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true))"

START = f"""
{QUICKLY}
UPDATE queue_tasks SET
    started_at = clock_timestamp(), pid = %(pid)s,
    lease_until = greatest(lease_until, clock_timestamp() + (timeout + {MARGIN}) * interval '1 second')
FROM quickly WHERE id = %(id)s AND generation = %(generation)s AND state = 'leased'
RETURNING name, args, key_id, signature, request_id, attempts,
    extract(epoch FROM clock_timestamp() - due_at)::float8 * 1000
"""


def start(claim: Claim, place: Place) -> Started | None:
    """Mark the row as running here, with its whole lease; None where the claim is no longer ours."""
    with connection.cursor() as cursor:
        cursor.execute(START, {"id": claim.id, "generation": claim.generation, "pid": place.pid})
        row = cursor.fetchone()
    return Started(*row) if row else None


COUNT = """
INSERT INTO queue_minutes AS minute (minute, worker_id, pid, name, done, failed, busy_ms, late_ms, latest_ms)
SELECT date_trunc('minute', clock_timestamp()), %(worker)s, %(pid)s, name, %(done)s, %(failed)s,
       %(busy_ms)s, %(late_ms)s, %(late_ms)s FROM ended
ON CONFLICT (minute, worker_id, pid, name) DO UPDATE SET
    done = minute.done + EXCLUDED.done, failed = minute.failed + EXCLUDED.failed,
    busy_ms = minute.busy_ms + EXCLUDED.busy_ms, late_ms = minute.late_ms + EXCLUDED.late_ms,
    latest_ms = greatest(minute.latest_ms, EXCLUDED.latest_ms)
"""
ACKNOWLEDGE = f"""
WITH ended AS (
    DELETE FROM queue_tasks
    WHERE id = %(id)s AND generation = %(generation)s AND state = 'leased' RETURNING name
)
{COUNT}
"""


# A slot's task has no arguments and the key that `queue_slot` gives it: what else has its name is no period's.
OF_A_PERIOD = "period.name = {task}.name AND {task}.key = '[\"' || {task}.name || '\"]' AND {task}.args = '[]'"
ACKNOWLEDGE_PERIOD = f"""
WITH ended AS (
    DELETE FROM queue_tasks
    WHERE id = %(id)s AND generation = %(generation)s AND state = 'leased' RETURNING id, name, key, args
), came_round AS (
    UPDATE queue_periods AS period SET succeeded = greatest(succeeded, ended.id)
    FROM ended WHERE {OF_A_PERIOD.format(task="ended")}
)
{COUNT}
"""


def acknowledge(claim: Claim, place: Place, *, period: bool = False, busy_ms: float = 0, late_ms: float = 0) -> bool:
    """The task is done: its row goes, its minute counts it. False where the claim was lost meanwhile.

    With `period` the success of a slot is kept: the failures before it need nobody any more.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            ACKNOWLEDGE_PERIOD if period else ACKNOWLEDGE,
            {**_ended(claim, place, busy_ms, late_ms), "done": 1, "failed": 0},
        )
        return bool(cursor.rowcount == 1)


FREED = "lease_until = NULL, worker_id = NULL, pid = NULL, started_at = NULL"
FAIL = f"""
WITH ended AS (
    UPDATE queue_tasks SET
        state = CASE WHEN %(permanent)s OR attempts >= max_attempts THEN %(given_up)s ELSE 'waiting' END,
        due_at = CASE WHEN %(permanent)s OR attempts >= max_attempts THEN due_at ELSE clock_timestamp() + (
            least({BACKOFF_LIMIT}, {BACKOFF} * 2 ^ (attempts - 1)) * (0.75 + random() / 2)) * interval '1 second' END,
        error = %(reason)s, {FREED}
    WHERE id = %(id)s AND generation = %(generation)s AND state = 'leased' RETURNING name, state, attempts, due_at
), counted AS ({COUNT})
SELECT name, state, attempts FROM ended
"""
# The same wake-up was queued again while this one ran: it stands in for the retry, and inherits the attempts.
MERGE = """
WITH mine AS (
    DELETE FROM queue_tasks WHERE id = %(id)s AND generation = %(generation)s AND state = 'leased'
    RETURNING name, key, attempts
)
UPDATE queue_tasks AS other SET attempts = greatest(other.attempts, least(mine.attempts, other.max_attempts - 1))
FROM mine WHERE other.name = mine.name AND other.key = mine.key AND other.state = 'waiting'
RETURNING other.name, 'merged', other.attempts
"""


def fail(  # noqa: PLR0913  each is a column
    claim: Claim,
    place: Place,
    reason: str,
    *,
    permanent: bool = False,
    given_up: str = "dead",
    busy_ms: float = 0,
    late_ms: float = 0,
) -> str | None:
    """Put the row back with a back-off, or give it up with the reason. The state it is in now, None if not ours."""
    values = {
        **_ended(claim, place, busy_ms, late_ms),
        "done": 0,
        "failed": 1,
        "permanent": permanent,
        "given_up": given_up,
        "reason": (reason.strip() or "No reason was given.").replace("\0", "\N{REPLACEMENT CHARACTER}")[:ERROR_LIMIT],
    }
    row = _settle(FAIL, values)
    if row is None:
        return None
    name, state, attempts = row
    if state in ("dead", "quarantined"):
        log.error("task given up", task=name, task_id=claim.id, state=state, attempts=attempts)
    return str(state)


# Never started, or stopped by an operator: the attempt did not count. Cut short by an outage: it did, and the task may
# have one more instead, but never more than a hundred, or a task that breaks the database would run for ever.
PUT_BACK = f"""
UPDATE queue_tasks SET
    state = 'waiting', due_at = greatest(due_at, clock_timestamp() + %(delay)s), error = %(reason)s,
    attempts = attempts - CASE WHEN %(ran)s THEN 0 ELSE 1 END,
    max_attempts = least(100, max_attempts + CASE WHEN %(ran)s THEN 1 ELSE 0 END), {FREED}
WHERE id = %(id)s AND generation = %(generation)s AND state = 'leased' RETURNING name, state, attempts
"""


def put_back(claim: Claim, reason: str, *, ran: bool, delay: float = 0) -> bool:
    """Let the row wait again without blame on the task."""
    values: dict[str, Any] = {
        "id": claim.id,
        "generation": claim.generation,
        "reason": reason[:ERROR_LIMIT],
        "ran": ran,
        "delay": timedelta(seconds=delay),
    }
    return _settle(PUT_BACK, values) is not None


@dataclass(frozen=True)
class Held:
    """A row some worker has leased; `pid` is None until a process starts it."""

    claim: Claim
    pid: int | None
    age: float  # seconds since the claim, or since the start
    overdue: float  # seconds the lease has been over, negative while it holds


HELD = """
SELECT id, generation, pid,
    extract(epoch FROM clock_timestamp() - coalesce(started_at, lease_until - %(lease)s))::float8,
    extract(epoch FROM clock_timestamp() - lease_until)::float8
FROM queue_tasks WHERE state = 'leased' AND worker_id = %(worker)s
"""


def held_by(worker_id: int) -> list[Held]:
    asked: dict[str, Any] = {"worker": worker_id, "lease": timedelta(seconds=CLAIM_LEASE)}
    with connection.cursor() as cursor:
        cursor.execute(HELD, asked)
        return [Held(Claim(row[0], row[1]), *row[2:]) for row in cursor.fetchall()]


# To be claimed again at once: the lease ends here, and the next claim of a row that never started is not counted.
RELEASE_UNSTARTED = """
UPDATE queue_tasks SET lease_until = clock_timestamp()
WHERE state = 'leased' AND started_at IS NULL AND worker_id = %(worker)s
"""


def release_unstarted(cursor: Any, worker_id: int) -> None:
    """Free what was claimed for this worker and not started yet."""
    cursor.execute(RELEASE_UNSTARTED, {"worker": worker_id})


def release(worker_id: int, *, blame: str = "") -> int:
    """Free what a worker that is surely gone has held. With `blame`, tasks that ran are counted a failure for it."""
    freed = 0
    for held in held_by(worker_id):
        if held.pid is not None and blame:
            freed += fail(held.claim, Place(worker_id, held.pid), blame) is not None
        else:
            freed += put_back(held.claim, "", ran=False)
    return freed


def _settle(statement: str, values: dict[str, Any]) -> tuple[Any, ...] | None:
    """Run a statement that lets the row wait again, unless the same wake-up was queued meanwhile and waits already."""
    with connection.cursor() as cursor:
        try:
            with transaction.atomic():
                cursor.execute(statement, values)
                row: tuple[Any, ...] | None = cursor.fetchone()
        except IntegrityError:
            cursor.execute(MERGE, values)
            row = cursor.fetchone()
    return row


def _ended(claim: Claim, place: Place, busy_ms: float, late_ms: float) -> dict[str, Any]:
    return {
        "id": claim.id,
        "generation": claim.generation,
        "worker": place.worker_id,
        "pid": place.pid,
        "busy_ms": round(busy_ms),
        "late_ms": max(0, round(late_ms)),
    }
