"""What is in a database: the rows of every table, and a checksum that tells whether any of them changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from psycopg import sql

from entities.postgres import Connection

# Texts of values depend on these; the same values must give the same text everywhere.
SAME_TEXT = """
SET timezone = 'UTC'; SET datestyle = 'ISO'; SET intervalstyle = 'postgres'; SET extra_float_digits = 1;
SET bytea_output = 'hex'; SET search_path = pg_catalog; SET statement_timeout = 0; SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0
"""
LEFT_OUT = "django_session"  # who reads a backup shall not be logged in by it
# Generated columns are left out: they follow from the others.
COLUMNS = f"""
SELECT space.nspname || '.' || owner.relname, array_agg(kept.attname::text ORDER BY kept.attnum)
FROM pg_class AS owner JOIN pg_namespace AS space ON space.oid = owner.relnamespace
JOIN pg_attribute AS kept ON kept.attrelid = owner.oid AND kept.attnum > 0 AND NOT kept.attisdropped
    AND kept.attgenerated = ''
WHERE owner.relkind = 'r' AND owner.relpersistence <> 't' AND owner.relname <> '{LEFT_OUT}'
    AND space.nspname !~ '^(pg_|information_schema$)'
GROUP BY 1 ORDER BY 1
"""


@dataclass(frozen=True)
class Measure:
    """One table."""

    rows: int
    checksum: str
    columns: list[str]


Measures = dict[str, Measure]


def columns(found: Connection) -> dict[str, list[str]]:
    return dict(found.execute(COLUMNS).fetchall())


def take(found: Connection, wanted: Mapping[str, list[str]] | None = None) -> Measures:
    """Measure every table, or those columns of those tables; what is gone is left out."""
    found.execute(SAME_TEXT)
    there = columns(found)
    measures = {}
    for table, names in (there if wanted is None else wanted).items():
        kept = [name for name in names if name in there.get(table, ())]
        if table in there and kept:
            measures[table] = _measure(found, table, kept)
    return measures


def _measure(found: Connection, table: str, names: list[str]) -> Measure:
    """The sum of the rows' hashes: it does not depend on their order."""
    schema, _, name = table.partition(".")
    query = sql.SQL("SELECT count(*), coalesce(sum(hashtextextended(ROW({})::text, 0)::numeric), 0)::text FROM {}")
    row = found.execute(
        query.format(sql.SQL(", ").join(map(sql.Identifier, names)), sql.Identifier(schema, name))
    ).fetchone()
    assert row is not None  # noqa: S101  an aggregate without GROUP BY has one row
    return Measure(int(row[0]), str(row[1]), names)


def lost(before: Measures, after: Measures) -> list[str]:
    """What was there and is not any more: tables, columns, rows."""
    told = []
    for table, was in before.items():
        now = after.get(table)
        if now is None:
            told.append(f"the table {table} is gone, with {was.rows} rows")
            continue
        if gone := [name for name in was.columns if name not in now.columns]:
            told.append(f"columns of {table} are gone: {', '.join(gone)}")
        if now.rows < was.rows:
            told.append(f"{was.rows - now.rows} of {was.rows} rows of {table} are gone")
    return told


def changed(before: Measures, after: Measures) -> list[str]:
    """Tables whose rows are there and differ."""
    return [
        table
        for table, was in before.items()
        if (now := after.get(table)) and now.rows >= was.rows and now.checksum != was.checksum
    ]


def differences(expected: Measures, found: Measures) -> list[str]:
    """Why two databases are not the same."""
    told = lost(expected, found) + [f"{table} differs" for table in changed(expected, found)]
    return told + [f"{table} was not expected" for table in found if table not in expected]


def as_json(measures: Measures) -> dict[str, Any]:
    return {table: asdict(measure) for table, measure in measures.items()}


def from_json(found: Mapping[str, Any]) -> Measures:
    """Without the table that backups had before, and have no more."""
    return {table: Measure(**measure) for table, measure in found.items() if not table.endswith(f".{LEFT_OUT}")}
