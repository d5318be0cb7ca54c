"""Binds the rules of the database to every entity table, those that come later included: after each migrate.

A table needs no step of its own for it. What is bound already costs one query.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db import connections, models
from django.db.backends.utils import CursorWrapper
from psycopg import sql

from config import rls
from entities import loader
from entities.base import Entity

TRIGGERS = {
    "entity_kept": "BEFORE DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION entity_is_kept({type})",
    "entity_kept_all": "BEFORE TRUNCATE ON {table} EXECUTE FUNCTION entity_is_kept({type})",
    "entity_lineage": "AFTER INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION entity_lineage({type})",
    "entity_stamped": "BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION entity_is_stamped()",
}
OWN_ROWS = "own_rows"
FOUND = """
SELECT c.relname,
    ARRAY(SELECT tgname::text FROM pg_trigger WHERE tgrelid = c.oid AND NOT tgisinternal AND tgenabled <> 'D'),
    ARRAY(SELECT polname::text FROM pg_policy WHERE polrelid = c.oid AND c.relforcerowsecurity)
FROM pg_class c WHERE relname = ANY(%s) AND relkind IN ('r', 'p') AND pg_table_is_visible(c.oid)
    AND to_regproc('entity_lineage') IS NOT NULL
"""


def bind(using: str = "default", **_signal: Any) -> list[str]:
    """Give each table what it lacks; returns what was given. Runs after every migrate."""
    with connections[using].cursor() as cursor:
        missing = list(_missing(cursor))
        for model, kind, name in missing:
            if kind == "trigger":
                _bind_trigger(cursor, model, name)
            elif name == OWN_ROWS:
                mine = f"created_by = {rls.ACTING_USER}"
                rls.protect(cursor, model._meta.db_table, mine, "SELECT, INSERT, UPDATE")
            else:
                _bind_link(cursor, model, name)
    return [f"{model._meta.db_table}: {name}" for model, _kind, name in missing]


def lacking(using: str = "default") -> list[str]:
    """What some table lacks, for people."""
    with connections[using].cursor() as cursor:
        return [f"{model._meta.db_table}: {name}" for model, _kind, name in _missing(cursor)]


def _missing(cursor: CursorWrapper) -> Iterator[tuple[type[Entity], str, str]]:
    cursor.execute(FOUND, [list(loader.MODELS)])
    for table, triggers, policies in cursor.fetchall():
        model = loader.MODELS[table]
        yield from ((model, "trigger", name) for name in TRIGGERS if name not in triggers)
        wanted = [OWN_ROWS, *links(model)]
        yield from ((model, "policy", name) for name in wanted if name not in policies)


def links(model: type[Entity]) -> dict[str, tuple[str, str, str]]:
    """Policies that keep an end user's row from pointing at a row of somebody else: command, column and target."""
    return {
        f"own_{command.lower()}_{field.column}"[:63]: (command, str(field.column), field.related_model._meta.db_table)
        for field in model._meta.concrete_fields
        if isinstance(field, models.ForeignKey)
        and isinstance(field.related_model, type)
        and issubclass(field.related_model, Entity)
        for command in ("INSERT", "UPDATE")
    }


def _bind_trigger(cursor: CursorWrapper, model: type[Entity], name: str) -> None:
    make, enable = "CREATE OR REPLACE TRIGGER {name} " + TRIGGERS[name], "ALTER TABLE {table} ENABLE TRIGGER {name}"
    cursor.execute(
        sql.SQL(f"{make}; {enable}").format(
            name=sql.Identifier(name),
            table=sql.Identifier(model._meta.db_table),
            type=sql.Literal(loader.type_of(model)),
        )
    )


def _bind_link(cursor: CursorWrapper, model: type[Entity], name: str) -> None:
    command, column, target = links(model)[name]
    table = model._meta.db_table
    own = sql.SQL(
        "{table}.{column} IS NULL OR EXISTS (SELECT FROM {target} AS their WHERE their.id = {table}.{column})"
    )
    allowed = own.format(
        table=sql.Identifier(table), column=sql.Identifier(column), target=sql.Identifier(target)
    ).as_string()
    rls.narrow(cursor, table, name, command, allowed)
