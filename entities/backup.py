"""Backups: one folder each, whole or not there, with what was in it written beside it (docs/backups.md).

A dump and its manifest show one moment: `pg_dump` reads the snapshot in which rows were counted and summed. A backup is
made under another name and renamed when both are on the disk, so one that was killed is never taken for one.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import structlog
from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.utils.translation import gettext as _
from psycopg import sql

from agents import audit
from agents.models import Status
from config.columns import clock
from config.health import Result
from entities import measures, postgres, sealing
from entities.measures import Measures
from entities.models import Backup
from entities.postgres import Connection, Say, ToolError

log = structlog.get_logger(__name__)

DUMP, MANIFEST = "database.dump", "manifest.json"
UNFINISHED = ".partial"
REHEARSAL_READS = timedelta(hours=1)
REHEARSAL = "rehearsal"  # the reason of those that a planned change was tried on
BLOCK = 1024 * 1024


@dataclass(frozen=True)
class Manifest:
    """What is in a backup."""

    name: str
    reason: str
    taken_at: str
    database: str
    server: int  # PostgreSQL's version, as a number
    bytes: int
    sha256: str
    migrations: list[list[str]]
    measures: dict[str, Any]
    head: str = ""  # of the audit log's chain, as `audit verify --head` takes it
    seal: str = ""

    @property
    def rows(self) -> int:
        return sum(int(measure["rows"]) for measure in self.measures.values())

    @property
    def taken(self) -> datetime:
        return datetime.fromisoformat(self.taken_at)

    def measured(self) -> Measures:
        return measures.from_json(self.measures)

    @property
    def is_ours(self) -> bool:
        return sealing.is_ours(asdict(self))


class BackupError(Exception):
    """There is no such backup, or it is not what it was; the text says what to do."""


def folder() -> Path:
    """Where backups are; only their owner may look."""
    place = Path(settings.BACKUP_DIR)
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    return place


# --- taking ---
def take(*, by: str, reason: str, say: Say | None = None) -> Manifest:
    """Write one backup, let go of those the policy keeps no longer, and put both on record."""
    name = f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%S.%f}"[:-3] + f"-{reason}"
    try:
        with only_one():
            manifest = _write(name, reason, say)
    except (ToolError, OSError, DatabaseError, psycopg.Error) as error:
        _tell_of_failure(name, reason, by, str(error))
        raise
    with transaction.atomic():
        Backup.objects.create(
            name=name, reason=reason, made_by=by[:100], host=socket.gethostname()[:100], place=str(folder()),
            size=manifest.bytes, rows=manifest.rows, sha256=manifest.sha256,
        )  # fmt: skip
        told = {"bytes": manifest.bytes, "tables": len(manifest.measures), "rows": manifest.rows}
        audit.record("backup.take", by, ("backup", name), {**told, "sha256": manifest.sha256, "reason": reason})
    retire(by=by)
    return manifest


def _tell_of_failure(name: str, reason: str, by: str, error: str) -> None:
    log.error("backup failed", name=name, reason=error[:500])
    try:
        audit.record(
            "backup.take", by, ("backup", name), {"reason": reason, "error": error[:500]}, status=Status.FAILURE
        )
    except DatabaseError:
        connection.close()  # it is what failed; the log has it


@contextmanager
def only_one() -> Iterator[None]:
    """One backup at a time on this machine; under this lock, whatever is unfinished was killed and goes."""
    place = folder()
    with (place / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in place.glob(f"*{UNFINISHED}"):
            log.warning("half a backup was removed", name=left.name)
            shutil.rmtree(left)
        yield


def _write(name: str, reason: str, say: Say | None) -> Manifest:
    draft = folder() / f"{name}{UNFINISHED}"
    draft.mkdir(mode=0o700)
    try:
        with postgres.connect() as found, found.transaction():
            found.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            row = found.execute("SELECT pg_export_snapshot(), clock_timestamp()").fetchone()
            assert row is not None  # noqa: S101  two functions have one row
            dump(draft / DUMP, snapshot=row[0], tables=len(measures.columns(found)), say=say)
            manifest = _manifest(found, draft / DUMP, name, reason, row[1])
        (draft / MANIFEST).write_text(json.dumps(asdict(manifest), indent=1))
        (draft / MANIFEST).chmod(0o600)
        for path in (draft / DUMP, draft / MANIFEST, draft):
            _to_disk(path)
        draft.rename(folder() / name)
        _to_disk(folder())
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return manifest


def dump(path: Path, *, snapshot: str, tables: int, say: Say | None) -> None:
    """`pg_dump` in its custom format, telling of every table it comes to."""
    done = 0

    def heard(line: str) -> None:
        nonlocal done
        if say and "dumping contents of table" in line:
            done += 1
            say(f"  {done}/{tables}  {line.rpartition('table ')[2]}")

    arguments = [
        "--format=custom", "--verbose", "--enable-row-security", f"--snapshot={snapshot}", f"--file={path}",
        f"--exclude-table-data=*.{measures.LEFT_OUT}",
    ]  # fmt: skip
    postgres.run("pg_dump", arguments, database=postgres.name_of_ours(), heard=heard)


def _manifest(found: Connection, path: Path, name: str, reason: str, taken: datetime) -> Manifest:
    measured = measures.take(found)
    schema = sql.Identifier(postgres.schema())
    applied = found.execute(sql.SQL("SELECT app, name FROM {}.django_migrations ORDER BY id").format(schema)).fetchall()
    head = found.execute(
        sql.SQL("SELECT seq || ':' || hash FROM {}.audit_chain ORDER BY seq DESC LIMIT 1").format(schema)
    ).fetchone()
    manifest = Manifest(
        name=name,
        reason=reason,
        taken_at=taken.astimezone(UTC).isoformat(timespec="seconds"),
        database=postgres.name_of_ours(),
        server=found.info.server_version,
        bytes=path.stat().st_size,
        sha256=digest(path),
        migrations=[list(one) for one in applied],
        measures=measures.as_json(measured),
        head=str(head[0]) if head else "",
    )
    return replace(manifest, seal=sealing.seal(asdict(manifest)))


def digest(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            found.update(block)
    return found.hexdigest()


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# --- keeping ---
def kept() -> list[Manifest]:
    """Every whole backup here, the newest first."""
    found = [path.name for path in folder().iterdir() if (path / MANIFEST).is_file() and path.suffix != UNFINISHED]
    return [manifest(name) for name in sorted(found, reverse=True)]


def manifest(name: str) -> Manifest:
    """One backup by its name; `latest` is the newest."""
    if name == "latest":
        everything = kept()
        if not everything:
            raise BackupError(f"There is no backup in {folder()}. `manage.py backup` takes one.")
        return everything[0]
    path = folder() / name / MANIFEST
    if "/" in name or name.startswith(".") or not path.is_file():
        raise BackupError(f"There is no backup {name[:100]!r} in {folder()}. `manage.py backups` lists them.")
    try:
        return Manifest(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise BackupError(f"The manifest of {name} cannot be read ({error}).") from error


def dump_of(found: Manifest) -> Path:
    """The dump of a backup, after a look whether it is still what was written."""
    path = folder() / found.name / DUMP
    if not path.is_file():
        raise BackupError(f"The dump of {found.name} is gone: {path}")
    if digest(path) != found.sha256:
        raise BackupError(f"The dump of {found.name} is not what was written: its checksum differs. Choose another.")
    return path


def due_to_go(names: list[tuple[str, datetime]], now: datetime) -> list[str]:
    """What the policy keeps no longer: of each older week the newest stays, and the newest few whatever their age.

    Rehearsals are asked for by whoever may propose a change: only the newest of their backups stays, and those that a
    rehearsal may still read.
    """
    rehearsals = sorted((one for one in names if one[0].endswith(f"-{REHEARSAL}")), key=lambda one: one[1])
    going = [name for name, taken in rehearsals[:-1] if now - taken > REHEARSAL_READS]
    names = [one for one in names if one[0] not in going]
    ordered = sorted(names, key=lambda one: one[1], reverse=True)
    weeks = set()
    for place, (name, taken) in enumerate(ordered):
        age = now - taken
        week = taken.isocalendar()[:2]
        newest_of_week = week not in weeks
        weeks.add(week)
        if place < settings.BACKUP_KEEP_LAST or age <= timedelta(days=settings.BACKUP_KEEP_DAYS):
            continue
        if not (newest_of_week and age <= timedelta(weeks=settings.BACKUP_KEEP_WEEKS)):
            going.append(name)
    return going


def retire(*, by: str) -> list[str]:
    """Remove what the policy lets go."""
    going = due_to_go([(one.name, one.taken) for one in kept()], datetime.now(UTC))
    for name in going:
        shutil.rmtree(folder() / name)
        with transaction.atomic():
            Backup.objects.filter(name=name, removed_at=None).update(removed_at=clock())
            audit.record("backup.remove", by, ("backup", name), {"why": "the policy keeps it no longer"})
    return going


# --- seen ---
AGE = """
SELECT extract(epoch FROM clock_timestamp() - max(created_at))::float8 / 3600,
    (SELECT extract(epoch FROM clock_timestamp() - min(applied))::float8 / 3600 FROM django_migrations)
FROM backups WHERE removed_at IS NULL
"""


def age() -> tuple[float | None, float]:
    """Hours since the last backup, if there was one, and hours since the database was made."""
    with connection.cursor() as cursor:
        cursor.execute(AGE)
        last, made = cursor.fetchone()
    return last, float(made or 0)


def is_due() -> bool:
    """Has a day passed since the last one? A database made this hour has nothing to lose yet."""
    last, made = age()
    return bool(settings.BACKUP_EVERY_HOURS) and made > 1 and (last is None or last >= settings.BACKUP_EVERY_HOURS)


def _gone() -> list[str]:
    """Backups that this machine wrote, the newest few, whose files are not there any more."""
    ours = Backup.objects.filter(removed_at=None, host=socket.gethostname()[:100], place=str(settings.BACKUP_DIR))
    names = ours.order_by("-created_at").values_list("name", flat=True)[: settings.BACKUP_KEEP_LAST]
    return [name for name in names if not (Path(settings.BACKUP_DIR) / name / MANIFEST).is_file()]


def backups() -> Result:
    """Is the last backup younger than two of its periods?"""
    last, made = age()
    allowed = 2 * (settings.BACKUP_EVERY_HOURS or 24)
    if last is None:
        fix = _("Run `manage.py backup`, and keep a worker running.")
        return Result("backups", made < allowed, _("none yet"), fix)
    if missing := _gone():
        told = _("not where they were written: %s") % ", ".join(missing)
        return Result("backups", False, told, _("Look for BACKUP_DIR on another disk, or run `manage.py backup`."))
    detail = _("the last one %d h ago") % round(last)
    return Result(
        "backups", last <= allowed, detail, _("Run `manage.py backup`; look for its failures in the audit log.")
    )
