"""The hottest statements, prepared once per connection: PostgreSQL parses and plans them no more (ADR 0021)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, LiteralString

import psycopg
from django.db import connection


def ask(statement: LiteralString, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Run one statement on Django's connection and fetch what it returns.

    It does what Django's cursor does, but leaves the binding of values to the server. Where somebody listens to
    Django's cursor (query log, execute wrappers), it is used.
    """
    if connection.execute_wrappers or connection.queries_logged:
        with connection.cursor() as listened:
            listened.execute(statement, values)
            heard: list[tuple[Any, ...]] = listened.fetchall()
            return heard
    connection.close_if_health_check_failed()
    connection.ensure_connection()
    connection.validate_no_broken_transaction()
    with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall()
