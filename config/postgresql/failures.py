"""Failures of the database, classified: what a caller is told, and whether another try makes sense."""

from __future__ import annotations

from enum import StrEnum

import psycopg
from django.db import InterfaceError, OperationalError


class Failure(StrEnum):
    """Why the database did not do what it was asked, where another try may succeed."""

    AWAY = "away"  # no connection, or it was lost
    BUSY = "busy"  # it answers, and ended the statement: a lock or time limit, a deadlock, no free connection slot
    HUNG = "hung"  # it accepts connections and answers none of them, or lost an answer


class HungError(psycopg.OperationalError):
    """The server did not answer within DATABASE_TIMEOUT; the connection is closed."""


READ_ONLY = "25006"  # a standby, or a server that is being switched over
BUSY = frozenset(
    {
        "55P03",  # lock_not_available: lock_timeout, or NOWAIT
        "57014",  # query_canceled: statement_timeout, or cancelled by an operator
        "40001",  # serialization_failure
        "40P01",  # deadlock_detected
        "53300",  # too_many_connections
    }
)


def failure(error: BaseException) -> Failure | None:
    """The kind of an error of Django or psycopg; None where it is no failure of the database itself."""
    source = error.__cause__ if isinstance(error.__cause__, psycopg.Error) else error
    if isinstance(source, HungError):
        return Failure.HUNG
    state = getattr(source, "sqlstate", None)
    if state in BUSY:
        return Failure.BUSY
    lost = (OperationalError, InterfaceError, psycopg.OperationalError, psycopg.InterfaceError)
    return Failure.AWAY if state == READ_ONLY or isinstance(source, lost) else None
