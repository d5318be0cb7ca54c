"""LangGraph's official checkpoints in PostgreSQL: a schema and a small pool of their own (docs/adr/0081).

The thread is the turn. Its checkpoints are what a crashed run goes on from; once the turn is settled they are only
evidence, and `prune` lets them go.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
import structlog
from django.conf import settings
from django.db import OperationalError, connection
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool, PoolTimeout

from config.postgresql.connections import WatchedConnection

logger = structlog.get_logger(__name__)

SCHEMA = "checkpoints"
LARGEST_POOL = 2  # a worker process runs one turn at a time
AT_ONCE = 200  # threads pruned in one go
COMPACT_AFTER = 3600  # seconds of rest after which a thread keeps only its latest state


@dataclass(frozen=True, slots=True)
class Open:
    """A saver on its pool, and whose it is: a pool must not be forked."""

    pid: int
    database: str
    pool: ConnectionPool[psycopg.Connection[dict[str, Any]]]
    saver: PostgresSaver


_open: Open | None = None


def saver() -> PostgresSaver:
    """This process's saver. It reads nothing but plain data and messages, whatever a row may name."""
    global _open
    where = str(connection.settings_dict["NAME"])
    if _open is None or (_open.pid, _open.database) != (os.getpid(), where):
        pool: ConnectionPool[psycopg.Connection[dict[str, Any]]] = ConnectionPool(
            connection_class=WatchedConnection, kwargs=parameters(), min_size=1, max_size=LARGEST_POOL, timeout=10,
            name="checkpoints", open=True,
            check=ConnectionPool.check_connection,  # a round trip; or the first turn after a restart fails, and waits
        )  # fmt: skip
        saver = PostgresSaver(pool, serde=JsonPlusSerializer(allowed_msgpack_modules=None))
        _open = Open(os.getpid(), where, pool, saver)
    return _open.saver


def close() -> None:
    """Close this process's pool, if it has one."""
    global _open
    if _open is not None and _open.pid == os.getpid():
        _open.pool.close()
    _open = None


def parameters() -> dict[str, Any]:
    """Django's own connection, but committing at once, in the schema of the checkpoints, and reading binary."""
    found = connection.get_connection_params()
    wanted = {key: value for key, value in found.items() if key not in ("context", "cursor_factory", "pool")}
    options = f"{wanted.pop('options', '') or ''} -c search_path={SCHEMA}"
    return wanted | {"options": options, "autocommit": True, "row_factory": dict_row, "prepare_threshold": 0}


@contextmanager
def outages_are_outages() -> Iterator[None]:
    """The pool's failures as Django names them, so that an outage of the database is never an agent's fault."""
    try:
        yield
    except (psycopg.OperationalError, PoolTimeout) as error:
        if _open is not None:
            _open.pool.check()  # throws out the connections that died
        raise OperationalError(str(error)) from error


# --- seen ---


@dataclass(frozen=True, slots=True)
class Thread:
    """The checkpoints of one turn."""

    id: str
    checkpoints: int
    size: int  # bytes
    last_at: datetime


THREADS = f"""
SELECT thread_id, count(*), sum(size)::bigint, max(at) FROM (
    SELECT thread_id, pg_column_size(checkpoints.*) AS size, (checkpoint ->> 'ts')::timestamptz AS at
    FROM {SCHEMA}.checkpoints
    UNION ALL SELECT thread_id, pg_column_size(checkpoint_blobs.*), NULL FROM {SCHEMA}.checkpoint_blobs
    UNION ALL SELECT thread_id, pg_column_size(checkpoint_writes.*), NULL FROM {SCHEMA}.checkpoint_writes
) AS rows GROUP BY thread_id
"""
LARGEST = f"""
SELECT thread_id, (SELECT count(*) FROM {SCHEMA}.checkpoints c WHERE c.thread_id = t.thread_id), size, at
FROM ({THREADS}) AS t (thread_id, rows, size, at) WHERE at IS NOT NULL ORDER BY size DESC LIMIT %s
"""
OLDER = f"""
SELECT thread_id FROM {SCHEMA}.checkpoints GROUP BY thread_id
HAVING max((checkpoint ->> 'ts')::timestamptz) < clock_timestamp() - %s * interval '1 second' AND count(*) > %s
ORDER BY thread_id
"""
SIZE = "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c"
SIZE += f" JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = '{SCHEMA}' AND c.relkind = 'r'"


def threads(limit: int = 100) -> list[Thread]:
    """The largest first."""
    with connection.cursor() as cursor:
        cursor.execute(LARGEST, [limit])
        return [Thread(*row) for row in cursor.fetchall()]


def total_size() -> int:
    """Bytes on disk, indexes included."""
    with connection.cursor() as cursor:
        cursor.execute(SIZE)
        return int(cursor.fetchone()[0])


# --- pruned ---


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was, or would be, let go."""

    deleted: int  # whole threads
    compacted: int  # threads that keep their latest state only
    changed: Sequence[str] = ()  # threads whose state is not what it was: always empty, or something is very wrong


class StateChangedError(Exception):
    """Pruning changed the state of a thread it was to keep."""


def prune(*, older_than_days: float, dry_run: bool = False) -> Pruned:
    """Forget threads that rested so long; of the others keep the latest state, and prove that it is the same."""
    gone = _resting(86_400 * older_than_days, 0)
    rest = [thread for thread in _resting(COMPACT_AFTER, 1) if thread not in set(gone)]
    if dry_run:
        return Pruned(len(gone), len(rest))
    with outages_are_outages():
        for some in _batches(gone):
            saver().prune(some, strategy="delete")
        for some in _batches(rest):
            before = {thread: fingerprint(thread) for thread in some}
            saver().prune(some, strategy="keep_latest")
            changed = [thread for thread in some if fingerprint(thread) != before[thread]]
            if changed:
                raise StateChangedError(f"The state of {len(changed)} threads is not what it was: {changed[:3]}.")
    logger.info("checkpoints pruned", deleted=len(gone), compacted=len(rest))
    return Pruned(len(gone), len(rest))


def fingerprint(thread: str) -> str:
    """A digest of all that a run would go on from: values, their versions, what was written and not yet applied."""
    found = state(thread)
    if found is None:
        return ""
    dump = saver().serde.dumps_typed
    checkpoint = {key: value for key, value in found.checkpoint.items() if key != "channel_values"}
    values = sorted((name, dump(value)) for name, value in found.checkpoint["channel_values"].items())
    writes = sorted((task, channel, dump(value)) for task, channel, value in found.pending_writes or ())
    parts = repr([sorted(checkpoint.items(), key=str), values, writes, sorted(found.metadata.items(), key=str)])
    return hashlib.sha256(parts.encode()).hexdigest()


def state(thread: str) -> CheckpointTuple | None:
    """The latest checkpoint of a turn."""
    with outages_are_outages():
        return saver().get_tuple(at(thread))


def at(thread: str) -> Any:
    """Where LangGraph finds the turn."""
    return {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}


def forget(thread: str) -> None:
    """Drop a turn's checkpoints: what they began does not fit what is asked now."""
    with outages_are_outages():
        saver().delete_thread(thread)


def kept_days() -> float:
    return float(settings.CHECKPOINTS_KEEP_DAYS)


def _resting(seconds: float, more_than: int) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(OLDER, [seconds, more_than])
        return [row[0] for row in cursor.fetchall()]


def _batches(threads: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(threads), AT_ONCE):
        yield threads[start : start + AT_ONCE]
