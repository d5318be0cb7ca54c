"""The HNSW index of a space: built and dropped beside the traffic, and found again after a crash (ADR 0102).

One partial index per space, over an expression that gives its vectors their dimensions. CREATE INDEX CONCURRENTLY may
not run in a transaction; where it is killed it leaves an invalid index behind, which is dropped and built again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import structlog
from django.db import DatabaseError, connection
from django.db.backends.utils import CursorWrapper

from config.columns import clock
from search.models import Space

log = structlog.get_logger(__name__)

MEMORY = "256MB"  # of the build; a graph that does not fit is built several times slower

# CONCURRENTLY waits for older transactions; no request waits for this.
PATIENT = f"SET statement_timeout = 0; SET lock_timeout = 0; SET maintenance_work_mem = '{MEMORY}'"
ALONE = "SET max_parallel_maintenance_workers = 0"
IMPATIENT = (
    "RESET statement_timeout; RESET lock_timeout; RESET maintenance_work_mem; RESET max_parallel_maintenance_workers"
)
DISK_FULL = "53100"  # SQLSTATE; also of shared memory, of which a container has 64 MB and parallel workers want MEMORY
QUICKER = ("42P07", "23505")  # another worker has built it
PAUSES = (60, 300, 900, 3600)  # seconds after the first, second, ... failure in a row; the last repeats

STATE = """
SELECT i.indisvalid, p.index_relid IS NOT NULL,
    coalesce(p.tuples_done::float / nullif(p.tuples_total, 0), p.blocks_done::float / nullif(p.blocks_total, 0), 0)
FROM pg_index i LEFT JOIN pg_stat_progress_create_index p ON p.index_relid = i.indexrelid
WHERE i.indexrelid = to_regclass(%s)
"""


def state(space: Space) -> tuple[bool, bool, float]:
    """(valid, somebody builds it now, how far that is); all of it nothing where there is no index."""
    with connection.cursor() as cursor:
        cursor.execute(STATE, [space.index_name])
        valid, running, share = cursor.fetchone() or (False, False, 0.0)
    return bool(valid), bool(running), float(share)


def valid(space: Space) -> bool:
    return state(space)[0]


def progress(space: Space) -> float:
    """From 0 to 1; 1 is a valid index. A space without vectors needs none."""
    if not space.dimensions:
        return 1.0
    ready, _running, share = state(space)
    return 1.0 if ready else min(share, 0.99)


def build(space: Space) -> bool:
    """Build the index of a space unless it is there or somebody else is at it; True when it is valid."""
    ready, running, _share = state(space)
    if ready or running:
        return ready
    with _patiently() as cursor:
        log.info("building an index of vectors", space=space.pk, model=space.model)
        try:
            _create(cursor, space)
        except DatabaseError as error:
            if _sqlstate(error) in QUICKER:
                return False
            _pause(space, error)
            raise
    Space.objects.filter(pk=space.pk, index_failures__gt=0).update(index_failures=0, index_error="", index_due_at=None)
    return valid(space)


def _create(cursor: CursorWrapper, space: Space) -> None:
    """In parallel, or by one process where there is no shared memory for more."""
    drop_left = f"DROP INDEX CONCURRENTLY IF EXISTS {space.index_name}"  # what a failed build left
    cursor.execute(drop_left)
    try:
        cursor.execute(definition(space))
    except DatabaseError as error:
        if _sqlstate(error) != DISK_FULL:
            raise
        log.warning("an index of vectors is built by one process", space=space.pk, reason=str(error).strip()[:200])
        cursor.execute(ALONE)
        cursor.execute(drop_left)
        cursor.execute(definition(space))


def _pause(space: Space, error: DatabaseError) -> None:
    """A build that fails would fail again a second later, and take the machine for it each time."""
    space.refresh_from_db(fields=["index_failures"])
    seconds = PAUSES[min(space.index_failures, len(PAUSES) - 1)]
    Space.objects.filter(pk=space.pk).update(
        index_failures=space.index_failures + 1,
        index_error=str(error).strip()[:500],
        index_due_at=clock() + timedelta(seconds=seconds),
        updated_at=clock(),
    )
    log.error("an index of vectors cannot be built", space=space.pk, again_in=seconds, exc_info=error)


def paused(space: Space) -> bool:
    """Did a build fail a moment ago?"""
    return Space.objects.filter(pk=space.pk, index_due_at__gt=clock()).exists()


def _sqlstate(error: DatabaseError) -> str | None:
    return getattr(error.__cause__, "sqlstate", None)


def definition(space: Space) -> str:
    """Names and numbers only, all of our own making."""
    return (
        f"CREATE INDEX CONCURRENTLY {space.index_name} ON search_index"
        f" USING hnsw ((embedding::{space.vector_type}) {space.operators}) WHERE space = {int(space.pk)}"
    )


def drop(space: Space) -> None:
    """Remove the index of a space beside the traffic."""
    with _patiently() as cursor:
        cursor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {space.index_name}")


def forget(space: Space) -> None:
    """In the transaction that gives a space its dimensions: an index of its name is that of another space, which had
    the id before somebody reset the sequence. It would refuse every vector of other dimensions."""
    with connection.cursor() as cursor:
        cursor.execute(f"DROP INDEX IF EXISTS {space.index_name}")


@contextmanager
def _patiently() -> Iterator[CursorWrapper]:
    with connection.cursor() as cursor:
        cursor.execute(PATIENT)
        try:
            yield cursor
        finally:
            if connection.connection is not None and not connection.connection.closed:
                cursor.execute(IMPATIENT)
