"""Triggers that notice every change of what can be found, whichever client makes it (ADR 0101).

A change leaves one narrow row in `search_pending`, in its own transaction; a deletion takes the entries along at once.
Installed after every migrate for whatever is declared then, so that a table made later is watched as well.
"""

from __future__ import annotations

import hashlib
from typing import Any

import structlog
from django.db import connections, transaction
from django.db.backends.utils import CursorWrapper
from psycopg import sql

from config import rls
from search.declarations import Searchable, declared

log = structlog.get_logger(__name__)

# One plain function per table: names known when it is planned, so that an append pays for a single INSERT and no more.
FUNCTION = """
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO search_pending (entity_type, entity_id) SELECT {type}, id FROM added;
    ELSE
        INSERT INTO search_pending (entity_type, entity_id)
        SELECT {type}, n.id FROM changed n JOIN former o USING (id) WHERE {differs};
    END IF;
    RETURN NULL;
END $$
"""
# With the owner's rights: whoever may delete the row may not be allowed to touch the index.
FORGET = """
CREATE OR REPLACE FUNCTION {forget}() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER AS $$
BEGIN
    PERFORM search_forget({type}, (SELECT array_agg(id) FROM gone));
    RETURN NULL;
END $$
"""
TRIGGERS = """
CREATE OR REPLACE TRIGGER search_added AFTER INSERT ON {table} REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION {function}();
CREATE OR REPLACE TRIGGER search_changed AFTER UPDATE ON {table} REFERENCING OLD TABLE AS former NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION {function}();
CREATE OR REPLACE TRIGGER search_gone AFTER DELETE ON {table} REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION {forget}();
"""
WATCHING = ("search_added", "search_changed", "search_gone")
INSTALLED = """
SELECT c.relname, obj_description(p.oid, 'pg_proc') FROM pg_class c
JOIN pg_trigger t ON t.tgrelid = c.oid AND t.tgname IN ('search_added', 'search_changed', 'search_gone')
JOIN pg_proc p ON p.proname = 'search_watch_' || c.relname AND p.pronamespace = c.relnamespace
WHERE c.relnamespace = current_schema()::regnamespace GROUP BY c.relname, p.oid HAVING count(*) = 3
"""
EXISTING = "SELECT relname FROM pg_class WHERE relname = ANY(%s) AND relnamespace = current_schema()::regnamespace"


def watch(using: str = "default") -> list[str]:
    """Install what is missing or outdated, and tell of which tables; rows that were there before are queued as well."""
    wanted = {searchable.table: searchable for searchable in declared().values()}
    with connections[using].cursor() as cursor:
        cursor.execute(EXISTING, [[*wanted, "search_pending"]])
        there = {name for (name,) in cursor.fetchall()}
        if "search_pending" not in there:
            return []
        cursor.execute(INSTALLED)
        installed = dict(cursor.fetchall())
        missing = [
            table for table, searchable in wanted.items() if table in there and installed.get(table) != mark(searchable)
        ]
        for table in missing:
            with transaction.atomic(using=using):
                _install(cursor, wanted[table], first=table not in installed)
                cursor.execute(rls.CLOSE_DEFINERS)
    if missing:
        log.info("tables watched for the search index", tables=missing)
    return missing


def statements(searchable: Searchable) -> str:
    """All the SQL that watches one table."""
    table = searchable.table
    names = {
        "function": sql.Identifier(f"search_watch_{table}"),
        "forget": sql.Identifier(f"search_forget_{table}"),
        "table": sql.Identifier(table),
        "type": sql.Literal(searchable.entity_type),
    }
    texts = {name: part.as_string() for name, part in names.items()}
    return ";".join([FUNCTION, FORGET, TRIGGERS]).format(**texts, differs=_differs(searchable))


def _differs(searchable: Searchable) -> str:
    """Did an update change anything the index tells of?"""
    columns = [str(getattr(searchable.source._meta.get_field(name), "column")) for name in searchable.watch]  # noqa: B009
    if not columns:
        return "n.* IS DISTINCT FROM o.*"
    new, old = (", ".join(sql.Identifier(side, column).as_string() for column in columns) for side in ("n", "o"))
    return f"ROW({new}) IS DISTINCT FROM ROW({old})"


def mark(searchable: Searchable) -> str:
    """Tells whether what is installed is what would be installed now."""
    return hashlib.sha256(statements(searchable).encode()).hexdigest()[:16]


def _install(cursor: CursorWrapper, searchable: Searchable, *, first: bool) -> None:
    cursor.execute("SET LOCAL statement_timeout = 0")  # the lock may have to wait, and a large table to be read
    cursor.execute(statements(searchable))
    function = sql.Identifier(f"search_watch_{searchable.table}").as_string()
    cursor.execute(f"COMMENT ON FUNCTION {function}() IS {sql.Literal(mark(searchable)).as_string()}")
    if first:
        table = sql.Identifier(searchable.table).as_string()
        cursor.execute(
            f"INSERT INTO search_pending (entity_type, entity_id) SELECT %s, id FROM {table}", [searchable.entity_type]
        )


def watch_declared(using: str = "default", **_: Any) -> None:
    """After every migrate. Emptying tables between tests says the same: then it is two short queries."""
    watch(using)
