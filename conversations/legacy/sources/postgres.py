"""A PostgreSQL database of the old world: opened read-only, read row by row in one snapshot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import IsolationLevel, capabilities, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from conversations.legacy.errors import OptionError, SourceUnreachableError
from conversations.legacy.records import Found, Place
from conversations.legacy.sources.source import Options

PATIENCE = 10  # seconds
SETTINGS = (
    "SET default_transaction_read_only = on",  # whatever is sent by mistake is refused
    "SET TimeZone = 'UTC'",
    "SET DateStyle = 'ISO'",
    "SET statement_timeout = 0",
    "SET idle_in_transaction_session_timeout = 0",
    "SET work_mem = '64MB'",
)
COLUMNS = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a
WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
# A copy of a server is the same source; where the number is not to be seen, its address has to do.
SYSTEM = "SELECT system_identifier::text FROM pg_control_system()"
INTEGERS = frozenset({"smallint", "integer", "bigint"})


class Postgres:
    """What the tables have in common. `FIELDS` names the columns that are looked for, `NEEDED` those it takes."""

    kind = ""
    TABLE = ""
    FIELDS: Mapping[str, Sequence[str]] = {}
    NEEDED: Sequence[str] = ()

    def __init__(self, dsn: str, options: Options) -> None:
        self.dsn, self.options = dsn, options
        self.table = options.table or self.TABLE
        with self.connected() as db:
            self.types = columns(db, self.table)
            if not self.types:
                raise OptionError(f"There is no table {self.table} in the source; --table names another.")
            self.fields = self._fields()
            self.name = [self.kind, *_identity(db), self.table]
        self.origin = f"{describe(dsn)}, table {self.table}"
        self._chat, self._position, self._rows = "", -1, 0

    @contextmanager
    def connected(self) -> Iterator[psycopg.Connection[Any]]:
        with connect(self.dsn) as db:
            yield db

    @property
    def place(self) -> Place:
        return {"chat": self._chat, "position": self._position, "rows": self._rows}

    @property
    def done(self) -> int:
        return self._rows

    def rows(self, query: sql.Composed, *, at_once: int = 1) -> Iterator[tuple[Any, ...]]:
        """Texts as the server sends them: so many rows are in memory, however many there are and however long."""
        try:
            with self.connected() as db, db.cursor() as cursor:
                if at_once > 1 and capabilities.has_stream_chunked():
                    yield from cursor.stream(query, size=at_once)
                    return
                with cursor.copy(sql.SQL("COPY ({}) TO STDOUT").format(query)) as copy:
                    yield from copy.rows()
        except psycopg.OperationalError as error:
            raise SourceUnreachableError(f"The source went away: {_first_line(error)}") from error
        except psycopg.Error as error:
            raise OptionError(f"The source refuses the query: {_first_line(error)}") from error

    def read(self, after: Place | None) -> Iterator[Found]:
        raise NotImplementedError

    def total(self) -> int | None:
        return self._count(sql.SQL("SELECT count(*) FROM {}").format(self._table()))

    def _count(self, query: sql.Composed) -> int | None:
        with self.connected() as db:
            row = db.execute(query).fetchone()
        return int(row[0]) if row and row[0] is not None else None

    def _fields(self) -> dict[str, str]:
        """Which column is which: as --map says, else the first of the usual names that is there."""
        given = dict(self.options.columns)
        if unknown := set(given) - set(self.FIELDS):
            raise OptionError(f"--map knows {', '.join(self.FIELDS)}; not {', '.join(sorted(unknown))}.")
        if absent := [column for column in given.values() if column and column not in self.types]:
            raise OptionError(f"The table {self.table} has no column {', '.join(absent)}.")
        guessed = {field: next((n for n in names if n in self.types), "") for field, names in self.FIELDS.items()}
        found = {field: column for field, column in {**guessed, **given}.items() if column}
        if missing := [field for field in self.NEEDED if field not in found]:
            raise OptionError(
                f"Which column of {self.table} is {' and which '.join(missing)}? Say --map {missing[0]}=COLUMN. "
                f"It has {', '.join(self.types)}."
            )
        return found

    def _table(self) -> sql.Composed:
        return sql.SQL("{}").format(sql.Identifier(*self.table.split(".", 1)))

    def text(self, field: str) -> sql.Composed:
        """A column as text, or NULL where the table has none for the field."""
        if field not in self.fields:
            return sql.SQL("NULL::text").format()
        return sql.SQL("t.{}::text").format(sql.Identifier(self.fields[field]))

    def others(self, own: frozenset[str] = frozenset()) -> sql.Composed:
        """Columns that no field takes go into the metadata."""
        others = set(self.types) - set(self.fields.values()) - own
        if not others:
            return sql.SQL("NULL::text").format()
        pairs = [sql.SQL("{}, t.{}").format(sql.Literal(name), sql.Identifier(name)) for name in sorted(others)]
        return sql.SQL("json_strip_nulls(json_build_object({}))::text").format(sql.SQL(", ").join(pairs))

    def sort_key(self, field: str) -> sql.Composed:
        """Sorting as Python sorts, so that reading can go on behind a key."""
        return sql.SQL("coalesce({}, '') COLLATE \"C\"").format(self.text(field))

    def moment(self, field: str) -> sql.Composed:
        """A time as text with its zone; a timestamp without one is of --timezone."""
        if self.types.get(self.fields.get(field, ""), "").startswith("timestamp") and not self._zoned(field):
            return sql.SQL("(t.{} AT TIME ZONE {})::text").format(
                sql.Identifier(self.fields[field]), sql.Literal(str(self.options.zone))
            )
        return self.text(field)

    def _zoned(self, field: str) -> bool:
        return "with time zone" in self.types[self.fields[field]]


@contextmanager
def connect(dsn: str) -> Iterator[psycopg.Connection[Any]]:
    """A session that cannot write, in one snapshot."""
    try:
        place = make_conninfo(
            dsn, **({} if "connect_timeout" in conninfo_to_dict(dsn) else {"connect_timeout": PATIENCE})
        )
        db = psycopg.connect(place, autocommit=True, client_encoding="utf8", application_name="parley import")
    except psycopg.Error as error:
        raise SourceUnreachableError(f"The source cannot be opened: {_first_line(error)}") from error
    with db:
        for setting in SETTINGS:
            db.execute(setting)
        db.set_autocommit(False)
        db.set_isolation_level(IsolationLevel.REPEATABLE_READ)
        db.set_read_only(True)
        yield db
        db.rollback()


def columns(db: psycopg.Connection[Any], table: str) -> dict[str, str]:
    """The names of a table's columns, with their types; nothing where there is no such table."""
    return dict(db.execute(COLUMNS, [table]).fetchall())


def describe(dsn: str) -> str:
    """The place without user and password."""
    given = conninfo_to_dict(dsn)
    host = given.get("host") or given.get("hostaddr") or "localhost"
    return f"PostgreSQL {given.get('dbname') or given.get('user') or ''} at {host}"


def _identity(db: psycopg.Connection[Any]) -> list[str]:
    try:
        with db.transaction():
            row = db.execute(SYSTEM).fetchone()
    except psycopg.Error:
        row = None
    return [row[0] if row else f"{db.info.host}:{db.info.port}", db.info.dbname]


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
