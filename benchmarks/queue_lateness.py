"""How late do delayed tasks start, with 10,000 others waiting and 50 due per second?"""

from __future__ import annotations

import statistics
from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks.queue_common import percentile, row, show
from config.queue import defer
from tests.chaos.stage import tasks  # noqa: F401
from tests.chaos.world import World, eventually, world

OWN_SERVER = True

WAITING, FEW, RATE = 10_000, 500, 50


def fill(made: World, number: int) -> None:
    """Timers of the next hour, as one statement writes them."""
    defer("stage.nothing", at=timedelta(hours=1))
    made.execute(
        "INSERT INTO queue_tasks (name, args, due_at, max_attempts, timeout, key_id, signature)"
        " SELECT name, args, due_at + n * interval '1 second', max_attempts, timeout, key_id, signature"
        " FROM queue_tasks, generate_series(1, %s) AS n",
        number - 1,
    )
    made.execute("VACUUM ANALYZE queue_tasks")


def lateness(made: World, seconds: float, *, waiting: int = WAITING, processes: int = 2) -> list[float]:
    """Milliseconds from due time to the first line of the task, by the database's clock."""
    made.reset()
    fill(made, waiting)
    made.worker(processes)
    count = int(RATE * seconds)
    first = made.rows("SELECT clock_timestamp() + interval '3 seconds'")[0][0].astimezone(UTC)
    for number in range(count):
        due: datetime = first + timedelta(seconds=number / RATE)
        defer("stage.late", due.timestamp(), at=due)
    eventually(lambda: len(made.witnessed("late")) >= count, seconds + 60, "all were started")
    return [1000 * float(late) for late in made.witnessed("late")]


def without_notifications(made: World, number: int) -> list[float]:
    """Due at once, written without any NOTIFY, one at a time into an idle queue."""
    made.reset()
    made.worker(2)
    for count in range(1, number + 1):
        now = made.rows("SELECT extract(epoch FROM clock_timestamp())::float8")[0][0]
        defer("stage.late", now, at=timedelta(hours=1))
        made.execute("UPDATE queue_tasks SET due_at = clock_timestamp() WHERE name = 'stage.late'")
        eventually(lambda count=count: len(made.witnessed("late")) == count, 10, "it ran")
    return [1000 * float(late) for late in made.witnessed("late")]


def at_once(made: World, number: int) -> list[float]:
    """Due at once, with the notification, one at a time into an idle queue."""
    made.reset()
    made.worker(2)
    for count in range(1, number + 1):
        defer("stage.late", made.rows("SELECT extract(epoch FROM clock_timestamp())::float8")[0][0])
        eventually(lambda count=count: len(made.witnessed("late")) == count, 10, "it ran")
    return [1000 * float(late) for late in made.witnessed("late")]


def run(quick: bool = False) -> list[dict[str, Any]]:
    with world() as made, made.connected():
        delayed = lateness(made, 1 if quick else 30, waiting=FEW if quick else WAITING)
        prompt = at_once(made, 3 if quick else 100)
        silent = without_notifications(made, 1 if quick else 50)
    stock = "django-q2 schedules: up to 30 s"
    return [
        row("delayed task, start minus due, p50", statistics.median(delayed), "ms", "<= 10", stock),
        row("delayed task, start minus due, p99", percentile(delayed, 0.99), "ms", "<= 50", stock),
        row("delayed task, start minus due, max", max(delayed), "ms", "", ""),
        row("due at once, start minus enqueue, p50", statistics.median(prompt), "ms", "", ""),
        row("due at once, start minus enqueue, p95", percentile(prompt, 0.95), "ms", "<= 100", ""),
        row("due at once, no notification, max", max(silent), "ms", "<= 3000", ""),
    ]


if __name__ == "__main__":
    show(run())
