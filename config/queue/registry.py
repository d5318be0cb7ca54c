"""Which functions may be queued. A row names a task; only what is registered here under that name ever runs."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from config.queue.errors import UnknownTaskError

Function = TypeVar("Function", bound=Callable[..., Any])

NAME = re.compile(r"[a-z][a-z0-9_.]{0,99}")
LONGEST = 3600  # seconds


@dataclass(frozen=True)
class Task:
    """A function that may be queued, and how patient the queue is with it."""

    name: str
    function: Callable[..., Any]
    timeout: int  # whole seconds: the alarm behind it knows no others
    attempts: int


@dataclass(frozen=True)
class Period:
    """A task queued once per period; `offset` seconds into it."""

    name: str
    seconds: int
    offset: int

    def slot(self, epoch: float) -> int:
        return int((epoch - self.offset) // self.seconds)


TASKS: dict[str, Task] = {}
PERIODS: dict[str, Period] = {}
WARMERS: list[Callable[..., Any]] = []


def task(name: str, *, timeout: int = 60, attempts: int = 5) -> Callable[[Function], Function]:
    """Register a function under a name that rows, logs and metrics will carry for ever. What it returns is dropped."""
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no task name: small letters, digits, dots and underscores, at most 100.")
    if not (isinstance(timeout, int) and 1 <= timeout <= LONGEST and 1 <= attempts <= 100):
        raise ValueError(f"{name}: timeout is 1 to {LONGEST} whole seconds, attempts are 1 to 100.")

    def register(function: Function) -> Function:
        known = TASKS.get(name)
        if known and _place(known.function) != _place(function):
            raise ValueError(f"{name} is already the task {_place(known.function)}.")
        TASKS[name] = Task(name, function, timeout, attempts)
        return function

    return register


def every(seconds: int, *, offset: int = 0) -> Callable[[Function], Function]:
    """Queue a task (which takes no arguments) once per period, however many workers run. Stands above `@task`."""
    if seconds < 1:
        raise ValueError("A period is at least a second.")

    def register(function: Function) -> Function:
        for registered in TASKS.values():
            if registered.function is function:
                PERIODS[registered.name] = Period(registered.name, seconds, offset)
                return function
        raise ValueError(f"{_place(function)} is no task yet: put @every above @task.")

    return register


def before_work(function: Function) -> Function:
    """Register what a worker does once before it forks: import what its processes then share, and not connect."""
    WARMERS.append(function)
    return function


def known(name: str) -> Task:
    try:
        return TASKS[name]
    except KeyError:
        raise UnknownTaskError(f"No task is registered as {name[:100]!r}.") from None


def _place(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{function.__qualname__}"
