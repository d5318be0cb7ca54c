"""Well-behaved tasks and poison. What they did is written to a file: a witness outside the database."""

import os
import re
import signal
import sys
import time
from typing import Any

from django.db import connection
from django_q.signals import post_spawn

from config.queue import task

WITNESS = os.environ.get("PARLEY_WITNESS", "/dev/null")
SKEW = float(os.environ.get("PARLEY_SKEW", "0"))


def witness(*words: object) -> None:
    """One line, one write: lines of several processes never mix."""
    file = os.open(WITNESS, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, (" ".join(str(word) for word in words) + "\n").encode())
    os.close(file)


def spawned(**_: Any) -> None:
    witness("spawned", os.getpid())


post_spawn.connect(spawned)


@task("stage.note", timeout=30)
def note(number: int) -> None:
    witness("note", number, os.getpid())


@task("stage.nothing", timeout=30)
def nothing() -> None:
    pass


@task("stage.late", timeout=30)
def late(due: float) -> None:
    """How long after its due time, by the database's clock, was this line reached?"""
    with connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM clock_timestamp())::float8 - %s", [due])
        witness("late", cursor.fetchone()[0])


@task("stage.slow", timeout=30)
def slow(number: int, seconds: float) -> None:
    witness("begun", number, os.getpid())
    time.sleep(seconds)
    witness("note", number, os.getpid())


@task("stage.database", timeout=30)
def database(number: int, seconds: float) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(%s)", [seconds])
    witness("note", number, os.getpid())


@task("stage.kills_its_worker", timeout=30)
def kills_its_worker() -> None:
    witness("poison", "kills_its_worker")
    os.kill(os.getpid(), signal.SIGKILL)


@task("stage.exits", timeout=30)
def exits() -> None:
    witness("poison", "exits")
    sys.exit(1)


@task("stage.exits_hard", timeout=30)
def exits_hard() -> None:
    witness("poison", "exits_hard")
    os._exit(3)


@task("stage.raises", timeout=30)
def raises() -> None:
    witness("poison", "raises")
    raise RuntimeError("for ever\0and ever")


@task("stage.hangs", timeout=1, attempts=2)
def hangs() -> None:
    witness("poison", "hangs")
    while True:
        time.sleep(60)


@task("stage.freezes", timeout=600, attempts=1)
def freezes() -> None:
    """One call that holds the GIL for longer than anybody lives."""
    witness("poison", "freezes", os.getpid())
    re.match("^(a|a)*$", "a" * 80 + "!")


@task("stage.swallows_the_alarm", timeout=1, attempts=1)
def swallows_the_alarm() -> None:
    witness("poison", "swallows_the_alarm")
    while True:
        try:
            time.sleep(60)
        except BaseException:
            witness("swallowed")


@task("stage.returns_a_lambda", timeout=30)
def returns_a_lambda() -> Any:
    witness("poison", "returns_a_lambda")
    return lambda: None


@task("stage.returns_20_mb", timeout=30)
def returns_20_mb() -> str:
    witness("poison", "returns_20_mb")
    return "x" * 20_000_000


if "PARLEY_STAGE_REMOVED" not in os.environ:

    @task("stage.removed", timeout=30, attempts=2)
    def removed() -> None:
        witness("note", "removed")


if SKEW:  # a machine whose clock is wrong
    real = time.time
    time.time = lambda: real() + SKEW
