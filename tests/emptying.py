"""Empties the tables behind a test that commits.

Django truncates every table there is and makes all permissions anew: a tenth of a second, and most tests leave a dozen
rows. Those are deleted, which takes milliseconds; what has grown is truncated still, so that nothing is carried from
test to test, neither rows nor bloat.
"""

from __future__ import annotations

from django.core.management import call_command
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from psycopg import sql

GROWN = 4 * 1024 * 1024  # bytes of all tables together
KEPT = {"django_content_type", "auth_permission"}  # what `migrate` wrote, and no test changes
SIZE = """
SELECT coalesce(sum(pg_relation_size(oid)), 0) FROM pg_class
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
"""
# A space has an index of its own, which its rows do not take along; every later row is asked whether it belongs there.
OF_SPACES = """
SELECT indexname FROM pg_indexes
WHERE schemaname = 'public' AND tablename = 'search_index' AND starts_with(indexname, 'search_index_space_')
"""


def empty() -> None:
    """All tables of the project, as TRUNCATE would leave them."""
    with connection.cursor() as cursor:
        cursor.execute(SIZE)
        grown = cursor.fetchone()[0] > GROWN
    if grown:
        truncate()
    else:
        _delete()


def truncate(*, inhibit_post_migrate: bool = False) -> None:
    call_command(
        "flush", verbosity=0, interactive=False, reset_sequences=False, inhibit_post_migrate=inhibit_post_migrate
    )
    with connection.cursor() as cursor:
        for statement in _drops(cursor):
            cursor.execute(statement)


def _delete() -> None:
    """Waits for who is still at work, as TRUNCATE does; triggers and foreign keys have no say, all goes at once."""
    names = connection.introspection.django_table_names(only_existing=True, include_views=False)
    tables = [sql.Identifier(name) for name in names if name not in KEPT]
    lock = sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(sql.SQL(", ").join(tables))
    deletes = [sql.SQL("DELETE FROM {}").format(table) for table in tables]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(sql.SQL("; ").join([lock, *deletes, *_drops(cursor)]))


def _drops(cursor: CursorWrapper) -> list[sql.Composed]:
    """The indexes of spaces that are gone, or are about to be."""
    cursor.execute(OF_SPACES)
    return [sql.SQL("DROP INDEX IF EXISTS {}").format(sql.Identifier(name)) for (name,) in cursor.fetchall()]
