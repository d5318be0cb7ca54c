"""The one function django-q2 ever calls: it runs a claimed row and settles it, whatever the task does.

django-q2 only sees success. Attempts, back-off, reasons and results are ours, in rows: nothing depends on what travels
back through the cluster's own queues (docs/adr/0010).
"""

import os
import signal
import threading
import time
import traceback
from collections.abc import Callable
from typing import TypeVar

import structlog
from django.db import DatabaseError, InterfaceError, connection
from django_q.exceptions import TimeoutException

from config.queue import registry, rows, signing
from config.queue.beats import Beats
from config.queue.deadline import OverrunError, deadline
from config.queue.errors import QueueError, UnreadableError
from config.queue.rows import Claim, Place, Started

log = structlog.get_logger(__name__)

AWAY = (DatabaseError, InterfaceError, OverrunError)
OUTAGES = ("08", "25006", "53", "57P")  # SQLSTATEs: connection, read only, resources, shutdown
ANSWER_WITHIN = 3  # seconds for a statement of ours; a connection that takes longer is given up
PATIENCE = 30  # seconds a worker tries to reach the database again before it leaves the row to its lease
RETRY_DELAYS = (0.1, 0.2, 0.5, 1.0, 2.0)  # the last one repeats
Answer = TypeVar("Answer")

worker_id = 0  # set by the supervisor before it forks; 0 is "no worker", as in tests and commands
beats: Beats | None = None  # likewise; None is "nobody listens"


def place() -> Place:
    return Place(worker_id, os.getpid())


def run(task_id: int, generation: int) -> None:
    """Run one claimed row. Returns nothing and raises nothing, so that the cluster has nothing to lose or repeat."""
    if beats is not None:
        beats.begin()
    claim = Claim(task_id, generation)
    try:
        started = patiently(lambda: rows.start(claim, place()))
    except (*AWAY, TimeoutException) as error:
        log.error("task not started", task_id=task_id, reason=type(error).__name__)
        return
    if started is None:
        log.warning("lease lost", task_id=task_id, when="before the start")
        return
    with structlog.contextvars.bound_contextvars(
        task=started.name, task_id=task_id, **({"request_id": started.request_id} if started.request_id else {})
    ):
        _run(claim, started)


def _run(claim: Claim, started: Started) -> None:
    begun = time.monotonic()
    error: BaseException | None = None
    try:
        args = signing.verified(started.name, started.args, started.key_id, started.signature)
        registry.known(started.name).function(*args)
    except BaseException as raised:  # SystemExit and the timeout's alarm are failures of the task, like any other
        error = raised
    _no_alarm()
    outage = _is_outage(error)
    if error is not None and not connection.in_atomic_block:
        connection.close_if_unusable_or_obsolete()
    spent = {"busy_ms": 1000 * (time.monotonic() - begun), "late_ms": started.late_ms}

    def settle() -> bool:
        if error is None:
            return rows.acknowledge(claim, place(), period=started.name in registry.PERIODS, **spent)
        if outage:
            return rows.put_back(claim, _reason(error), ran=True, delay=1)
        return _failed(claim, error, spent)

    try:
        kept = patiently(settle)
    except AWAY as away:
        log.error("outcome not stored, the lease will run out", reason=type(away).__name__)
        return
    if not kept:
        log.warning("lease lost", when="at the end")
    elif error is None:
        log.debug("task done", ms=round(spent["busy_ms"]))


def _failed(claim: Claim, error: BaseException, spent: dict[str, float]) -> bool:
    permanent = bool(getattr(error, "permanent", False))
    log.warning("task failed", reason=type(error).__name__, permanent=permanent, exc_info=error)
    given_up = "quarantined" if isinstance(error, QueueError) else "dead"
    state = rows.fail(claim, place(), _reason(error), permanent=permanent, given_up=given_up, **spent)
    return state is not None


def _reason(error: BaseException) -> str:
    """What staff read: the sentence first, then where it came from."""
    if isinstance(error, TimeoutException):
        return "It ran longer than its timeout."
    if isinstance(error, UnreadableError) or (isinstance(error, QueueError) and not error.__cause__):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    places = "".join(f"\n  {frame.filename}:{frame.lineno} in {frame.name}" for frame in frames)
    return f"{type(error).__name__}: {error}"[:2000] + places


def patiently(action: Callable[[], Answer]) -> Answer:
    """Do it, through an outage of the database if need be."""
    until = time.monotonic() + PATIENCE
    delays = iter(RETRY_DELAYS)
    delay = 0.0
    while True:
        try:
            with deadline(ANSWER_WITHIN):
                return action()
        except AWAY:
            delay = next(delays, RETRY_DELAYS[-1])
            if connection.in_atomic_block or time.monotonic() + delay > until:
                raise
            connection.close()
            time.sleep(delay)


def _is_outage(error: BaseException | None) -> bool:
    """Was it the database that failed, and not the task or its query?"""
    if not isinstance(error, AWAY):
        return False
    if str(getattr(error.__cause__, "sqlstate", None) or "").startswith(OUTAGES):
        return True
    return connection.connection is None or connection.connection.closed or connection.connection.broken


def _no_alarm() -> None:
    """The task's time is over or no longer matters: its alarm must not interrupt the settling."""
    if threading.current_thread() is threading.main_thread():
        signal.alarm(0)


def run_due(limit: int = 1000) -> int:
    """Run what is due in this process, as a worker would, and tell how many: for tests, consoles and commands."""
    for count in range(limit):
        with connection.cursor() as cursor:
            claimed = rows.claim(cursor, worker_id)
        if claimed is None:
            return count
        if claimed.state == "leased":
            run(claimed.claim.id, claimed.claim.generation)
    return limit
