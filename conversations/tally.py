"""Counts what leaves no row of its own, so that metrics tell the same from every process."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial, wraps
from typing import ParamSpec, TypeVar

from django.db import DatabaseError, connection, transaction

REFUSED = "refused_"  # before the code of why a message was not stored
LONGEST = 50  # characters of a name
API_FAILED = "api_failed"

ADD = """
INSERT INTO tallies AS tally (name, hour, count) VALUES (%s, date_trunc('hour', clock_timestamp()), 1)
ON CONFLICT (name, hour) DO UPDATE SET count = tally.count + 1
"""


def count(name: str) -> None:
    """Add one, in the caller's transaction."""
    with connection.cursor() as cursor:
        cursor.execute(ADD, [name])


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
