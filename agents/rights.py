"""The rights of an end user: inside the block PostgreSQL shows and takes that user's rows alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

from config import rls

ENTER = "SELECT set_config('role', 'parley_client', true), set_config('parley.user_id', %s, true)"
LEAVE = "SELECT set_config('role', 'none', true), set_config('parley.user_id', '', true)"


class NoIsolationError(Exception):
    """This database cannot keep users apart, so no tool may act for one of them."""


@contextmanager
def of_user(user_id: int) -> Iterator[None]:
    """Within a transaction: what is done in the block is done as that user, what follows as ourselves again.

    Where the block raises, the transaction has to end: the role ends with it.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("SET LOCAL outside a transaction changes nothing: open one first.")
    if not rls.available():
        raise NoIsolationError(NoIsolationError.__doc__)
    with connection.cursor() as cursor:
        cursor.execute(ENTER, [str(int(user_id))])
    yield
    with connection.cursor() as cursor:
        cursor.execute(LEAVE)
