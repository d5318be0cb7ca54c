"""Counts what leaves no row of its own, so that metrics tell the same from every process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial, wraps
from threading import Lock
from typing import ParamSpec, TypeVar

from django.db import DatabaseError, connection, transaction

REFUSED = "refused_"  # before the code of why a message was not stored
FAILED = "failed_"  # before the code of why a call that brought a message was not answered with success
LONGEST = 50  # characters of a name
API_FAILED = "api_failed"

ADD = """
INSERT INTO tallies AS tally (name, hour, count) VALUES (%s, date_trunc('hour', clock_timestamp()), %s)
ON CONFLICT (name, hour) DO UPDATE SET count = tally.count + EXCLUDED.count
"""

_unwritten: Counter[str] = Counter()  # failures of this process that the database could not be told yet
_lock = Lock()


def count(name: str, number: int = 1) -> None:
    """Add to it, in the caller's transaction."""
    with connection.cursor() as cursor:
        cursor.execute(ADD, [name, number])


class RefusedError(Exception):
    """Something was not stored. `code` is what programs are told and staff see counted; without one, nobody counts."""

    code = ""
    tallied = False


Given = ParamSpec("Given")
Answer = TypeVar("Answer")


def counts_refusals(verb: Callable[Given, Answer]) -> Callable[Given, Answer]:
    """Let what the verb refuses be counted, once, however many such verbs lie around each other.

    What was refused undoes its transaction, and a count written there goes with it. So the outermost verb counts, after
    its transaction. Inside a transaction of the caller it is counted if that one commits in spite of the refusal;
    callers that let it end the transaction call `refused` behind it.
    """

    @wraps(verb)
    def run(*args: Given.args, **options: Given.kwargs) -> Answer:
        try:
            return verb(*args, **options)
        except RefusedError as refusal:
            if connection.in_atomic_block:
                transaction.on_commit(partial(refused, refusal), robust=True)
            else:
                refused(refusal)
            raise

    return run


def refused(error: object) -> None:
    """Count a message that was not stored, unless that was done; in the caller's transaction, and never failing it."""
    if isinstance(error, RefusedError) and error.code and not error.tallied:
        error.tallied = True
        count_refusal(error.code)


def count_refusal(code: str) -> None:
    """The same where no verb was called, because the message was refused before."""
    with suppress(DatabaseError), transaction.atomic():
        count((REFUSED + code)[:LONGEST])


def count_failure(code: str, *, at_once: bool) -> None:
    """Count a message that a fault of ours kept out; in memory, and written now or by the next call that can."""
    with _lock:
        _unwritten[(FAILED + code)[:LONGEST]] += 1
    if at_once:
        write_failures()


def write_failures() -> None:
    """Write what could not be written when it happened; costs nothing where there is none."""
    if not _unwritten:
        return
    with _lock:
        waiting = dict(_unwritten)
        _unwritten.clear()
    try:
        with transaction.atomic():
            for name, number in sorted(waiting.items()):
                count(name, number)
    except DatabaseError:
        with _lock:
            _unwritten.update(waiting)
