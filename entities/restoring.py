"""A backup becomes a database of its own, is compared with what was written down, and replaces nothing by itself."""

from __future__ import annotations

import json
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from django.db import DatabaseError, connection
from psycopg.conninfo import make_conninfo

from agents import audit
from config.columns import clock
from config.rls import CREATE_ROLE
from entities import backup, measures, postgres
from entities.backup import Manifest
from entities.measures import Measures
from entities.models import Backup
from entities.postgres import Connection, Say, ToolError

SCRATCH = "parley_rehearsal_"
LONGEST_NAME = 63  # bytes of a name in PostgreSQL
NOT_OURS_TO_MAKE = (" EVENT TRIGGER ", " COMMENT - EXTENSION ")  # a role that is no superuser leaves these out


class RestoreError(Exception):
    """It was not restored, or what was restored is not what was backed up."""


@dataclass
class Restored:
    """The new database, and what was looked at."""

    database: str
    tables: int
    rows: int
    checks: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)  # equal to what was backed up, and that was not sound


def restore(found: Manifest, into: str, *, by: str, say: Say, foreign: bool = False) -> Restored:
    """Into a new database: copied, compared, its record verified; given its name only when it equals the backup.

    What was unsound when it was backed up is restored all the same and told: it may be all there is left.
    """
    if not (foreign or found.is_ours):
        raise RestoreError(
            f"{found.name} was not made by this installation, or its manifest was changed: its seal does not fit "
            "SECRET_KEY. A dump is a program that runs with the rights of the restoring role. If you know where it "
            "comes from and trust it, add --from-elsewhere."
        )
    path = backup.dump_of(found)
    draft = f"{into[: LONGEST_NAME - 9]}_{secrets.token_hex(4)}"
    with postgres.connect("postgres") as admin:
        if postgres.exists(admin, into):
            raise RestoreError(f"There is a database {into} already; it is not touched. Choose another with --into.")
        try:
            fill(admin, draft, path, say=say)
            restored = _examined(found, draft, say)
            postgres.rename(admin, draft, into)
        except BaseException:
            postgres.drop(admin, draft)
            raise
    restored.database = into
    _tell(found, restored, by)
    return restored


def fill(admin: Connection, database: str, path: Path, *, say: Say | None = None) -> None:
    """Make the database and put a dump into it."""
    postgres.create(admin, database)
    admin.execute(CREATE_ROLE)
    done = 0

    def heard(line: str) -> None:
        nonlocal done
        if say and "processing data for table" in line:
            done += 1
            say(f"  {done}  {line.rpartition('table ')[2]}")

    with _contents(admin, path) as contents:
        # A parallel restore protects tables before foreign keys are checked, which only a superuser may then do.
        at_once = ["--jobs=2"] if postgres.superuser(admin) else []
        arguments = [
            "--no-owner",
            "--verbose",
            "--exit-on-error",
            *at_once,
            *contents,
            f"--dbname={make_conninfo(dbname=database)}",
        ]
        postgres.run("pg_restore", [*arguments, str(path)], database=database, heard=heard)


@contextmanager
def _contents(admin: Connection, path: Path) -> Iterator[list[str]]:
    """Everything, or, for a role that is no superuser, everything such a role may make."""
    if postgres.superuser(admin):
        yield []
        return
    with tempfile.TemporaryDirectory() as place:
        listed = Path(place) / "contents"
        postgres.run("pg_restore", ["--list", f"--file={listed}", str(path)], database="postgres")
        lines = [line for line in listed.read_text().splitlines() if not any(word in line for word in NOT_OURS_TO_MAKE)]
        listed.write_text("\n".join(lines) + "\n")
        yield [f"--use-list={listed}"]


def _examined(found: Manifest, database: str, say: Say) -> Restored:
    say("Comparing rows and checksums ...")
    measured = measured_in(database)
    if different := measures.differences(found.measured(), measured):
        raise RestoreError("What was restored is not what was backed up: " + "; ".join(different[:10]))
    restored = Restored(database, len(measured), sum(each.rows for each in measured.values()))
    restored.checks.append(f"{restored.tables} tables, {restored.rows} rows: counts and checksums equal")
    _ask(restored, "audit", "verify")
    if postgres.manage("migrate", "--check", "-v0", database=database).returncode:
        restored.checks.append("its schema is older than this code: run `manage.py migrate` after the switch")
    else:
        _ask(restored, "reconcile")
    return restored


def measured_in(database: str) -> Measures:
    with postgres.connect(database) as found:
        return measures.take(found)


def _ask(restored: Restored, *command: str) -> None:
    """One of our own checkers, on the new database."""
    done = postgres.manage(*command, database=restored.database)
    said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    if done.returncode:
        restored.doubts.append(f"{' '.join(command)}: {' | '.join(said[-5:])}")
    else:
        restored.checks.append(f"{' '.join(command)}: {said[-1] if said else 'well'}")


def _tell(found: Manifest, restored: Restored, by: str) -> None:
    """On record where it was restored from, and in the restored database, which may soon be the only one."""
    details = {
        "database": restored.database,
        "rows": restored.rows,
        "checks": restored.checks,
        "doubts": restored.doubts,
    }
    with postgres.connect(restored.database) as there:
        there.execute(f"SET search_path = {postgres.search_path()}")
        there.execute(
            "INSERT INTO audit_log (action, actor, subject_type, subject_id, details) VALUES (%s, %s, %s, %s, %s)",
            ["backup.restore", by[:100], "backup", found.name, json.dumps(details)],
        )
    try:
        Backup.objects.filter(name=found.name).update(verified_at=clock())
        audit.record("backup.restore", by, ("backup", found.name), details)
    except DatabaseError:
        connection.close()  # a database that is restored because ours is broken


# --- switching ---
def switch(database: str) -> str:
    """Let the restored database take our name; ours is kept under another. Nobody may be connected to either."""
    ours = postgres.name_of_ours()
    kept = f"{ours[:40]}_before_{secrets.token_hex(4)}"
    connection.close()
    with postgres.connect("postgres") as admin:
        for name in (ours, database):
            if count := postgres.visitors(admin, name):
                raise RestoreError(
                    f"{count} connections to {name} are open: stop web, workers and bots, then run "
                    f"`manage.py restore --switch-to {database}`."
                )
        try:
            postgres.rename(admin, ours, kept)
            postgres.rename(admin, database, ours)
        except psycopg.Error as error:
            if not postgres.exists(admin, ours):
                postgres.rename(admin, kept, ours)
            raise RestoreError(f"Nothing was switched: {error}") from error
    return kept


def how_to_switch(database: str, *, embedded: bool) -> list[str]:
    """What a person does next."""
    ours = postgres.name_of_ours()
    if embedded:
        return [
            "Nothing was replaced. To use it: stop `make run`, then run",
            f"  .venv/bin/python manage.py restore --switch-to {database}",
        ]
    return [
        "Nothing was replaced. To use it: stop web, workers and bots, then either set the name in DATABASE_URL to",
        f"  {database}",
        "or let it take the old name (as a role that may rename databases, connected to `postgres`):",
        f'  ALTER DATABASE "{ours}" RENAME TO "{ours}_before";',
        f'  ALTER DATABASE "{database}" RENAME TO "{ours}";',
    ]


# --- scratch copies ---
@contextmanager
def scratch(path: Path) -> Iterator[str]:
    """A copy for the length of the block; those of runs that were killed go with the next one."""
    name = f"{SCRATCH}{secrets.token_hex(6)}"
    with postgres.connect("postgres") as admin:
        _remove_left_over(admin)
        try:
            fill(admin, name, path)
            with postgres.connect(name):  # as long as this one is there, nobody takes the copy for left over
                yield name
        finally:
            postgres.drop(admin, name)


def _remove_left_over(admin: Connection) -> None:
    names = admin.execute(
        "SELECT datname FROM pg_database WHERE starts_with(datname, %s) AND NOT EXISTS"
        " (SELECT FROM pg_stat_activity AS visitor WHERE visitor.datname = pg_database.datname)",
        [SCRATCH],
    ).fetchall()
    for (name,) in names:
        try:
            postgres.drop(admin, name)
        except psycopg.Error:
            continue  # somebody's fresh copy after all


__all__ = ["RestoreError", "Restored", "ToolError", "fill", "how_to_switch", "restore", "scratch", "switch"]
