"""Connections that end a wait for a server which has stopped answering.

`statement_timeout` is kept by the server: one that is frozen, or whose answer was lost on the way, keeps nothing, and
the client would wait for ever. After DATABASE_TIMEOUT seconds without an answer the server is asked on a second
connection whether it still works on the statement. While it does, its own limits decide.
"""

from __future__ import annotations

from typing import Any, TypeVar

import psycopg
from django.conf import settings
from psycopg.abc import PQGen
from psycopg.errors import _WaitTimeout

from config.postgresql.failures import HungError

Row_co = TypeVar("Row_co", covariant=True)
Result = TypeVar("Result")

INTERVAL = 0.1  # seconds between two looks for signals, as psycopg has it
PROBE_SECONDS = 2  # the least that psycopg takes as `connect_timeout`
LATE_ANSWER_SECONDS = 1  # for an answer that was on its way while the server was asked
WORKING = "SELECT state = 'active' FROM pg_stat_activity WHERE pid = %s"


class WatchedConnection(psycopg.Connection[Row_co]):
    """A connection that raises HungError, and is closed, when the server does not answer."""

    def wait(self, gen: PQGen[Result], interval: float = INTERVAL, timeout: float | None = None) -> Result:
        if timeout is not None or not settings.DATABASE_TIMEOUT:  # a wait with a limit of its own: notifications
            return super().wait(gen, interval, timeout)
        while True:
            try:
                return super().wait(gen, interval, settings.DATABASE_TIMEOUT)
            except _WaitTimeout:
                if not is_working(self):
                    return self._last_wait(gen, interval)

    def _last_wait(self, gen: PQGen[Result], interval: float) -> Result:
        try:
            return super().wait(gen, interval, LATE_ANSWER_SECONDS)
        except _WaitTimeout:
            self.pgconn.finish()
            raise HungError(f"no answer from the database for {settings.DATABASE_TIMEOUT} s") from None


class _Probe(psycopg.Connection[Any]):
    """A connection with one short limit for whatever it does."""

    def wait(self, gen: PQGen[Result], interval: float = INTERVAL, timeout: float | None = None) -> Result:
        return super().wait(gen, interval, PROBE_SECONDS if timeout is None else timeout)


def is_working(connection: psycopg.Connection[Any]) -> bool:
    """Whether the server answers, and is at work on a statement of this connection.

    Behind a pooler the number of the backend is not the server's: a server that does not know it gets the benefit of
    the doubt.
    """
    wanted: dict[str, Any] = connection.info.get_parameters() | {
        "connect_timeout": PROBE_SECONDS,
        "application_name": "parley-probe",
    }
    try:
        with _Probe.connect(**wanted, password=connection.info.password, autocommit=True) as probe:
            row = probe.execute(WORKING, [connection.info.backend_pid]).fetchone()
    except psycopg.Error as error:
        return "FATAL" in str(error)  # it answers, with a refusal: no free slot, a restart that will end ours as well
    return bool(row[0]) if row else True
