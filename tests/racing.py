"""Real races: each action in a thread and on a connection of its own, released at the same instant."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from django.db import connection

from tests.patience import PATIENCE
from tests.processes import eventually

WAITING_FOR_A_LOCK = """
SELECT pid FROM pg_stat_activity
WHERE wait_event_type = 'Lock' AND pid <> pg_backend_pid() AND datname = current_database()
"""


@contextmanager
def racers(number: int = 2) -> Iterator[Callable[..., list[Any]]]:
    """`race(*actions)` runs them at once and returns what each gave back; connections are kept from race to race."""
    barrier = threading.Barrier(number)

    def run(action: Callable[[], Any]) -> Any:
        barrier.wait(PATIENCE)
        return action()

    with ThreadPoolExecutor(number) as pool:

        def race(*actions: Callable[[], Any]) -> list[Any]:
            assert len(actions) == number
            return [future.result(PATIENCE) for future in [pool.submit(run, action) for action in actions]]

        try:
            yield race
        finally:
            race(*[_close_own] * number)


def blocked_by_us(action: Callable[[], Any]) -> Future[Any]:
    """Begin the action on another connection; return once it is done, or waits for a lock this transaction holds."""

    def apart() -> Any:
        try:
            return action()
        finally:
            connection.close()

    pool = ThreadPoolExecutor(1)
    future = pool.submit(apart)
    eventually(lambda: future.done() or _somebody_waits(), "the other one is done or waits for us")
    pool.shutdown(wait=False)
    return future


def _close_own() -> None:
    connection.close()


def _somebody_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")  # a transaction sees others as they were at its first look
        cursor.execute(WAITING_FOR_A_LOCK)
        return cursor.fetchone() is not None
