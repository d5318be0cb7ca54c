"""What does one claim cost with 100,000 tasks due, and with 100,000 timers waiting? Beside stock django-q2."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg

from benchmarks import stock
from benchmarks.queue_common import percentile, row, show
from benchmarks.queue_lateness import fill
from config.queue import rows
from tests.chaos.stage import tasks  # noqa: F401
from tests.chaos.world import World, world

OWN_SERVER = True


def timed(action: Callable[[], object], times: int) -> list[float]:
    """Milliseconds of each call."""
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        action()
        taken.append(1000 * (time.perf_counter() - begun))
    return taken


def claims(made: World, number: int, times: int, *, due: bool) -> list[float]:
    """Claims as the pusher makes them, on its kind of connection."""
    made.reset()
    fill(made, number)
    if due:
        made.execute("UPDATE queue_tasks SET due_at = clock_timestamp() - random() * interval '1 hour'")
        made.execute("VACUUM ANALYZE queue_tasks")
    with psycopg.connect(made.cluster.url, autocommit=True, options="-c synchronous_commit=off") as connection:
        cursor = connection.cursor()
        return timed(lambda: rows.claim(cursor, 1) or rows.next_due_in(cursor), times)


def stock_dequeues(made: World, number: int, times: int) -> list[float]:
    """The statements of stock django-q2's dequeue, without Python's part of it."""
    stock.prepare(made.cluster)
    with psycopg.connect(stock.environment(made.cluster)["DATABASE_URL"], autocommit=True) as connection:
        connection.execute("TRUNCATE django_q_ormq")
        connection.execute(
            "INSERT INTO django_q_ormq (key, payload, lock)"
            " SELECT 'stock', repeat('x', 300), now() - random() * interval '1 hour' FROM generate_series(1, %s)",
            [number],
        )
        connection.execute("VACUUM ANALYZE django_q_ormq")

        def dequeue() -> None:
            found = connection.execute(
                "SELECT id, lock FROM django_q_ormq WHERE key = 'stock' AND lock < now() LIMIT 1"
            ).fetchone()
            assert found
            connection.execute("UPDATE django_q_ormq SET lock = %s WHERE id = %s", [found[1] + timedelta(1), found[0]])

        return timed(dequeue, times)


def run(quick: bool = False) -> list[dict[str, Any]]:
    number, times = (2_000, 50) if quick else (100_000, 2_000)
    with world() as made, made.connected():
        due = claims(made, number, times, due=True)
        waiting = claims(made, number, times, due=False)
        peer = stock_dequeues(made, number, times)
    against = f"stock, unordered: p50 {statistics.median(peer):.2f}, p95 {percentile(peer, 0.95):.2f} ms"
    return [
        row(f"claim with {number:,} due, p50", statistics.median(due), "ms", "", against),
        row(f"claim with {number:,} due, p95", percentile(due, 0.95), "ms", "<= 100", against),
        row(f"empty claim with {number:,} timers waiting, p95", percentile(waiting, 0.95), "ms", "", ""),
    ]


if __name__ == "__main__":
    show(run())
