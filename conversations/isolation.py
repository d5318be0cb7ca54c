"""Acting as one user: inside the block PostgreSQL shows and takes that user's rows alone (ADR 0022)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction

ENTER = "SELECT set_config('role', 'parley_client', true), set_config('parley.user_id', %s, true)"
LEAVE = "SELECT set_config('role', 'none', true), set_config('parley.user_id', '', true)"


@contextmanager
def acting_as(user_id: int) -> Iterator[None]:
    """Open a transaction in which this connection is `parley_client` for one user; it ends with the transaction.

    Refuses to nest in another transaction: the role would outlive the block there. Whatever is read inside must be
    read to its end inside; a generator consumed later would run with the rights of the service.
    """
    in_a_test = connection.in_atomic_block  # Django's test cases alone may wrap a durable block in their own
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        cursor.execute(ENTER, (str(int(user_id)),))
        yield
        if in_a_test:
            cursor.execute(LEAVE)
