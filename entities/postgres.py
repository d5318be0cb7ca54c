"""PostgreSQL's own tools and databases beside ours: found, started without a secret on a command line, cleaned up."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import psycopg
from django.db import DatabaseError, connection
from psycopg import sql
from psycopg.rows import tuple_row

from config.database import EmbeddedServerError, binaries
from config.env import ROOT

Say = Callable[[str], None]
Connection = psycopg.Connection[tuple[Any, ...]]

VARIABLES = {  # what libpq calls it, and the variable its tools read: nothing of it is seen in a list of processes
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "passfile": "PGPASSFILE",
    "service": "PGSERVICE",
    "sslmode": "PGSSLMODE",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslrootcert": "PGSSLROOTCERT",
    "connect_timeout": "PGCONNECT_TIMEOUT",
}
DEFAULT_PATH = '"$user", public'
EXTENSION = "Let a superuser run, once: psql template1 -c 'CREATE EXTENSION vector'"
RIGHT = "Give the role the right (ALTER ROLE ... CREATEDB)"


class ToolError(Exception):
    """A tool of PostgreSQL is missing or failed; the text says what to do."""


def parameters() -> dict[str, Any]:
    """How Django reaches the database, in libpq's words, without our sessions' limits."""
    found = connection.get_connection_params()
    return {name: found[name] for name in VARIABLES if found.get(name) not in (None, "")}


def name_of_ours() -> str:
    return str(connection.settings_dict["NAME"])


def schema() -> str:
    """Where our tables are: the first of the search path that has them."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE c.oid = to_regclass('django_migrations')"
        )
        row = cursor.fetchone()
    return str(row[0]) if row else "public"


def search_path() -> str:
    """Ours as SET takes it: a role's own is everywhere, one of the database has to be given to its copies."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SHOW search_path")
            return str(cursor.fetchone()[0])
    except DatabaseError:
        connection.close()  # ours may be what is broken
        return DEFAULT_PATH


def connect(database: str | None = None, **more: Any) -> Connection:
    """A connection of its own: no limits, and every statement is committed."""
    wanted = {
        **parameters(),
        "dbname": database or name_of_ours(),
        "autocommit": True,
        "row_factory": tuple_row,
        **more,
    }
    return psycopg.connect(**wanted)


def environment(database: str) -> dict[str, str]:
    given = {VARIABLES[name]: str(value) for name, value in parameters().items()}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return {
        **kept,
        **given,
        "PGDATABASE": database,
        "PGAPPNAME": "parley",
        "PGCLIENTENCODING": "UTF8",
        "LC_MESSAGES": "C",
    }


def url(database: str) -> str:
    """For `DATABASE_URL` of a process of ours."""
    found = parameters()
    who = quote(str(found.pop("user", "")), safe="")
    if "password" in found:
        who += ":" + quote(str(found.pop("password")), safe="")
    place = quote(str(found.pop("host", "")), safe="") + (f":{found.pop('port')}" if "port" in found else "")
    found.pop("connect_timeout", None)
    more = f"?{urlencode(found)}" if found else ""
    return f"postgresql://{who}@{place}/{quote(database, safe='')}{more}"


# --- tools ---
def server() -> int:
    """The server's version, as PostgreSQL numbers it: 180004."""
    with connect("postgres") as found:  # ours may be what is broken
        return found.info.server_version


def tool(name: str) -> Path:
    """The tool of the server's own version, or the nearest newer one: an older one cannot read a newer server."""
    wanted = server() // 10_000
    found = {version: path for path in reversed(_candidates(name)) if (version := _version(path)) >= wanted}
    if not found:
        raise ToolError(
            f"There is no {name} for PostgreSQL {wanted}: install the package postgresql-client-{wanted}, "
            "or let `make install` bring the bundled one."
        )
    return found[min(found)]


def _candidates(name: str) -> list[Path]:
    try:
        bundled = [binaries() / name]
    except EmbeddedServerError:
        bundled = []
    packaged = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    on_path = [Path(found)] if (found := shutil.which(name)) else []
    return [path for path in (*bundled, *packaged, *on_path) if path.exists()]


def _version(path: Path) -> int:
    said = subprocess.run([str(path), "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"\) (\d+)", said)
    return int(found[1]) if found else 0


def run(name: str, arguments: Sequence[str], *, database: str, heard: Say | None = None) -> None:
    """Run a tool; `heard` is told every line it says. What it writes only we may read."""
    process = subprocess.Popen(
        [str(tool(name)), *arguments],
        env=environment(database),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        umask=0o077,
    )
    last: list[str] = []
    try:
        assert process.stderr is not None  # noqa: S101  a pipe was asked for
        with process.stderr:
            for line in process.stderr:
                last = [*last[-8:], line.strip()]
                if heard:
                    heard(line.strip())
        code = process.wait()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    if code:
        if any("permission denied to create extension" in line for line in last):
            raise ToolError(f"The role may not create the extension vector. {EXTENSION}")
        blamed = [line for line in last if "error" in line.lower() or "fatal" in line.lower()]
        raise ToolError(f"{name} failed: {' | '.join(blamed or last) or f'exit code {code}'}")


def manage(
    *arguments: str, database: str, folder: Path = ROOT, text: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    """One of our own commands, in a process of its own, on another database.

    Django looks for its own options in every argument: what people wrote is handed over as `text`, on standard input,
    or behind the equals sign of an option.
    """
    from django.conf import settings

    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=folder,
        env={
            **os.environ,
            "DATA_DIR": str(settings.DATA_DIR),
            "DATABASE_POOL": "false",
            **variables,
            "DATABASE_URL": url(database),
        },
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )


# --- databases ---
def exists(admin: Connection, database: str) -> bool:
    return admin.execute("SELECT FROM pg_database WHERE datname = %s", [database]).fetchone() is not None


def create(admin: Connection, database: str) -> None:
    """An empty database. A role that may not create the extension finds it where a superuser put it: in template1."""
    template = "template0" if superuser(admin) else "template1"
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(database), sql.Identifier(template))
    try:
        admin.execute(statement)
        if (path := search_path()) != DEFAULT_PATH:
            admin.execute(f"ALTER DATABASE {sql.Identifier(database).as_string()} SET search_path = {path}")
    except psycopg.errors.InsufficientPrivilege as error:
        raise ToolError(f"The role may not create databases. {RIGHT}.") from error


def drop(admin: Connection, database: str) -> None:
    admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database)))


def rename(admin: Connection, database: str, name: str) -> None:
    admin.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(database), sql.Identifier(name)))


def visitors(admin: Connection, database: str) -> int:
    row = admin.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = %s", [database]).fetchone()
    return int(row[0]) if row else 0


def superuser(admin: Connection) -> bool:
    row = admin.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
    return bool(row and row[0])
