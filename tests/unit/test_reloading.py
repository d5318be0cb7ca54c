"""Processes notice that the code has changed, each time, and none is left with the code of before."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from uvicorn.supervisors import Multiprocess

from config import reloading
from config.serving import Rolling


@pytest.fixture
def number(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of the code, for the test to move."""
    found = [1]
    monkeypatch.setattr(reloading, "GENERATIONS", [lambda: found[0]])
    monkeypatch.setattr(reloading, "LOOK_EVERY", 0.01)
    return found


@pytest.mark.django_db
def test_a_second_change_is_noticed_like_the_first(number: list[int]) -> None:
    """A process that replaces its children lives on, and must see what comes later."""
    noticed = threading.Semaphore(0)
    looked = threading.Event()
    reloading.GENERATIONS.append(lambda: looked.set() or 0)  # type: ignore[func-returns-value]
    over = reloading.watch(noticed.release)
    try:
        assert looked.wait(10)
        for _change in range(3):
            number[0] += 1
            assert noticed.acquire(timeout=10)
    finally:
        over.set()


class Child:
    """A process as far as the supervisor asks it."""

    pids: Iterator[int]
    slow: set[int] = set()

    def __init__(self, *_: Any) -> None:
        self.pid = next(Child.pids)

    def wait_until_ready(self, *_: Any) -> bool:
        return self.pid not in Child.slow

    def start(self) -> None: ...

    kill = terminate = join = start


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rolling]:
    before = {number: signal.getsignal(number) for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}}
    Child.pids = iter(range(1, 100))
    Child.slow = set()
    monkeypatch.setattr("uvicorn.supervisors.multiprocess.Process", Child)
    monkeypatch.setattr("config.serving.TRY_AGAIN", 0.0)
    found = Rolling(uvicorn.Config("config.asgi:application", workers=2), [])
    found.init_processes()
    yield found
    for number, handler in before.items():
        if handler is not None:
            signal.signal(number, handler)


def test_no_process_is_left_behind_where_one_is_slow_to_begin(supervisor: Rolling) -> None:
    Child.slow = {4}  # of 3 and 4, which replace 1 and 2
    supervisor.restart_all()
    assert {1, 2}.isdisjoint(process.pid for process in supervisor.processes)
    assert len(supervisor.processes) == 2


def test_a_replacement_that_never_begins_does_not_keep_us_from_ending(supervisor: Rolling) -> None:
    Child.slow = set(range(3, 100))
    os.kill(os.getpid(), signal.SIGTERM)
    supervisor.restart_all()
    assert supervisor.should_exit.is_set()
    assert [process.pid for process in supervisor.processes] == [1, 2], "who served serves until the end"


def test_uvicorn_by_itself_would_leave_one_behind(supervisor: Rolling) -> None:
    """Why `Rolling` is here; should this fail one day, it may go."""
    Child.slow = {4}
    Multiprocess.restart_all(supervisor)
    assert 2 in {process.pid for process in supervisor.processes}
