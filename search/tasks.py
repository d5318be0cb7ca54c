"""The wake-ups of this room. One tick a second keeps the index near the truth; all it does, it finds in rows."""

from __future__ import annotations

import time

from django.db import connection

from config.queue import defer, every, finder, task
from search import coverage, embedding, indexing, spaces

TICK = "search.tick"
EMBED = "search.embed"
BUILD = "search.build"
LATE = "30 seconds"

RUNS = "SELECT EXISTS (SELECT FROM queue_tasks WHERE name = %s AND state = 'leased')"


@every(1)
@task(
    TICK, timeout=indexing.LEASE - 5, attempts=1
)  # a connection that went dumb must not keep a process from others for long
def tick() -> None:
    """Index what changed; wake the slow ones where they have something to do."""
    spaces.ensure_current()
    until = time.monotonic() + indexing.BUSY
    while indexing.index_batch().taken and time.monotonic() < until:
        pass
    wake()
    coverage.recount_where_due()


def wake() -> None:
    """Queue embedding and building if there is anything to do, one of each at a time: they would only share a core."""
    if any(embedding.due(space) for space, _embedder in embedding.living()) and not _runs(EMBED):
        defer(EMBED, key=[EMBED])
    if spaces.due() and not _runs(BUILD):
        defer(BUILD, key=[BUILD])


def _runs(name: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(RUNS, [name])
        return bool(cursor.fetchone()[0])


@task(EMBED, timeout=300, attempts=1)
def embed() -> None:
    """Make vectors for a while."""
    embedding.work()


@task(BUILD, timeout=3600, attempts=1)
def build() -> None:
    """Bring spaces on: copy, build an index, activate, clear away."""
    spaces.step()


OVERDUE = (
    f"SELECT count(*) FROM search_pending WHERE attempts < %s AND created_at < clock_timestamp() - interval '{LATE}'"
)


@finder("search.overdue")
def wake_overdue() -> int:
    """Rows nobody has indexed for a while: the tick is gone, or too slow."""
    with connection.cursor() as cursor:
        cursor.execute(OVERDUE, [indexing.ATTEMPTS])
        late = int(cursor.fetchone()[0])
    if late:
        defer(TICK, key=[TICK])
    return late
