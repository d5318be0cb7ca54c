"""The hottest statements, prepared once per connection: PostgreSQL parses and plans them no more (ADR 0021)."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, LiteralString

import psycopg
from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

Row = tuple[Any, ...]


class _Kept(threading.local):
    """This thread's cursor: making one costs as much as half a statement."""

    cursor: psycopg.Cursor[Row] | None = None


_kept = _Kept()


def ask(statement: LiteralString, values: Sequence[Any]) -> list[Row]:
    """Run one statement on Django's connection and fetch what it returns.

    It does what Django's cursor does, but leaves the binding of values to the server. Where somebody listens to
    Django's cursor (query log, execute wrappers), it is used.
    """
    connection = connections[DEFAULT_DB_ALIAS]
    if connection.execute_wrappers or connection.queries_logged:
        with connection.cursor() as listened:
            listened.execute(statement, values)
            heard: list[Row] = listened.fetchall()
            return heard
    connection.close_if_health_check_failed()
    connection.ensure_connection()
    connection.validate_no_broken_transaction()
    with connection.wrap_database_errors:
        return _cursor(connection).execute(statement, values).fetchall()


def undone_alone() -> AbstractContextManager[None]:
    """A statement that may be refused: alone it is its own transaction, within one it needs a savepoint."""
    return transaction.atomic() if transaction.get_connection().in_atomic_block else nullcontext()


def _cursor(connection: BaseDatabaseWrapper) -> psycopg.Cursor[Row]:
    cursor = _kept.cursor
    if cursor is None or cursor.connection is not connection.connection or cursor.closed:
        cursor = _kept.cursor = psycopg.Cursor(connection.connection)
    return cursor
