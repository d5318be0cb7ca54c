"""Nothing depends on a task arriving: finders look for rows that are overdue, and wake them.

A finder is a function of any room that returns how many rows it woke. It runs every half minute in a worker, and by
`manage.py sweep`. One that breaks is logged and named in the result; the others run.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import structlog
from django.db import connection

from config.queue.registry import every, task

log = structlog.get_logger(__name__)

Finder = TypeVar("Finder", bound=Callable[[], int])

SWEEP_EVERY = 30  # seconds
SILENT_AFTER = 30  # seconds without a heartbeat: what such a worker holds is claimed by others
KEEP_MINUTES = "1 day"  # how long the page's history of the queue reaches back
KEEP_WORKERS = "7 days"

FINDERS: dict[str, Callable[[], int]] = {}


@dataclass(frozen=True)
class Swept:
    """What one finder did: how many rows it woke, or why it could not."""

    name: str
    woken: int
    error: str = ""


def finder(name: str) -> Callable[[Finder], Finder]:
    """Register a function that finds overdue rows and wakes them."""

    def register(function: Finder) -> Finder:
        FINDERS[name] = function
        return function

    return register


def sweep() -> list[Swept]:
    """Run every finder, whatever happens to the others."""
    return [_look(name, function) for name, function in FINDERS.items()]


def _look(name: str, function: Callable[[], int]) -> Swept:
    try:
        woken = function()
    except Exception as error:  # any bug of any finder: the others must run
        log.exception("finder failed", finder=name)
        return Swept(name, 0, f"{type(error).__name__}: {error}")
    if woken:
        log.warning("overdue rows woken", finder=name, rows=woken)
    return Swept(name, woken)


@every(SWEEP_EVERY)
@task("queue.sweep", timeout=120, attempts=1)
def sweep_task() -> None:
    sweep()


# The supervisor frees what its own processes held the moment they die; this is for machines that never came back.
SILENT = """
UPDATE queue_tasks SET lease_until = clock_timestamp()
WHERE state = 'leased' AND lease_until > clock_timestamp() AND worker_id IN (
    SELECT id FROM queue_workers WHERE beat_at < clock_timestamp() - %s * interval '1 second'
)
"""


@finder("queue.silent_workers")
def end_leases_of_silent_workers() -> int:
    with connection.cursor() as cursor:
        cursor.execute(SILENT, [SILENT_AFTER])
        return int(cursor.rowcount)


@every(3600)
@task("queue.tidy", timeout=120)
def tidy() -> None:
    """Forget old minutes, and workers that are gone."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM queue_minutes WHERE minute < clock_timestamp() - %s::interval", [KEEP_MINUTES])
        cursor.execute("DELETE FROM queue_workers WHERE beat_at < clock_timestamp() - %s::interval", [KEEP_WORKERS])
