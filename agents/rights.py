"""The rights of an end user: inside the block PostgreSQL shows and takes that user's rows alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from django.db import Error, connection

from config import rls

ENTER = "SELECT set_config('role', 'parley_client', true), set_config('parley.user_id', %s, true)"
LEAVE = "SELECT set_config('role', 'none', true), set_config('parley.user_id', '', true)"


class NoIsolationError(Exception):
    """This database cannot keep users apart, so no tool may act for one of them."""


SESSION = (
    "SELECT set_config('role', %s, false), set_config('parley.user_id', %s, false),"
    " set_config('statement_timeout', %s, false)"
)


def check() -> None:
    """Refuse where this database cannot keep users apart."""
    if not rls.available():
        raise NoIsolationError(NoIsolationError.__doc__)


@contextmanager
def without_transaction(user_id: int, *, seconds: float) -> Iterator[None]:
    """Rights of that user for the whole session of this thread, with no transaction open: for calls to other servers.

    The connection is closed behind the block, so nobody inherits the role.
    """
    if connection.in_atomic_block:
        raise RuntimeError("An open transaction would wait for another server.")
    check()
    try:
        with connection.cursor() as cursor:
            cursor.execute(SESSION, ["parley_client", str(int(user_id)), str(int(1000 * seconds))])
        yield
    finally:
        with suppress(Error), connection.cursor() as cursor:
            cursor.execute("RESET ROLE")
        connection.close()


@contextmanager
def of_user(user_id: int) -> Iterator[None]:
    """Within a transaction: what is done in the block is done as that user, what follows as ourselves again.

    Where the block raises, the transaction has to end: the role ends with it.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("SET LOCAL outside a transaction changes nothing: open one first.")
    check()
    with connection.cursor() as cursor:
        cursor.execute(ENTER, [str(int(user_id))])
    yield
    with connection.cursor() as cursor:
        cursor.execute(LEAVE)
