"""Applies an approved change. Killed at any step, it is run again and goes on, or puts everything back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog
from django.db import IntegrityError, connection

from agents import audit
from config.columns import clock
from config.crash import crash_point
from entities import backup, postgres
from entities.mechanic import changes, repository
from entities.mechanic.changes import ChangeError
from entities.mechanic.repository import FilesChangedError
from entities.models import SchemaChange
from entities.models.schema_change import State
from entities.postgres import ToolError

log = structlog.get_logger(__name__)

ONE_APPLIES = 0x6D656368  # the key of an advisory lock: it ends with whoever holds it, however that ends
NEXT = "SELECT nextval('schema_generations')"


def apply(change: SchemaChange, *, by: str) -> SchemaChange:
    """1. claimed, 2. backed up, 3. files, 4. migrated, 5. committed, 6. told to every process."""
    with only_one():
        _claim(change)
        try:
            name = _backed_up(change, by)
            _step(change, "files")
            repository.write(change.files)
            crash_point("mechanic_files")
            _step(change, "migrate")
            _migrated(name, by)
            crash_point("mechanic_migrated")
        except (ChangeError, FilesChangedError, ToolError, OSError) as error:
            _undo(change, by, error)
            raise ChangeError(change.error or str(error)) from error
        _step(change, "commit")
        commit, why_not = repository.commit(sorted(change.files), _message(change))
        crash_point("mechanic_committed")
        return _done(change, by, commit, why_not)


@contextmanager
def only_one() -> Iterator[None]:
    """One mechanic at a time, on all machines."""
    with postgres.connect() as lock:
        row = lock.execute("SELECT pg_try_advisory_lock(%s)", [ONE_APPLIES]).fetchone()
        if not (row and row[0]):
            raise ChangeError("Another change is being applied just now.")
        yield


def _claim(change: SchemaChange) -> None:
    """A change that is being applied by nobody (we hold the lock) was killed: it goes on."""
    resumable = [State.APPROVED, State.APPLYING]
    change.refresh_from_db()
    if change.state == State.FAILED and change.approved_by and change.step in {"files", "migrate"}:
        resumable.append(State.FAILED)
    try:
        changes._move(change, tuple(resumable), State.APPLYING, error="")
    except IntegrityError as error:
        other = SchemaChange.objects.filter(state=State.APPLYING).first()
        raise ChangeError(
            f"{other} was killed half-way: run `manage.py mechanic apply {other.pk if other else ''}` first."
        ) from error


def _step(change: SchemaChange, step: str) -> None:
    SchemaChange.objects.filter(pk=change.pk).update(step=step, updated_at=clock())


def _backed_up(change: SchemaChange, by: str) -> str:
    if applied(change):
        return "before"
    _step(change, "backup")
    return backup.take(by=by, reason="mechanic").name


def _migrated(name: str, by: str) -> None:
    """With the new files, so in a new process; its rules, short waits and record are those of every `migrate`."""
    done = postgres.manage(
        "migrate", "entities", f"--prepared={name}", f"--by={by[:100]}", database=postgres.name_of_ours()
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise ChangeError(f"The migration failed: {' | '.join(lines[-3:])[:1500]}")


def applied(change: SchemaChange) -> list[str]:
    """Those of its migrations that the database has."""
    names = [Path(path).stem for path in change.files if "/migrations/" in path]
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM django_migrations WHERE app = 'entities' AND name = ANY(%s)", [names])
        return [name for (name,) in cursor.fetchall()]


def _undo(change: SchemaChange, by: str, error: Exception) -> None:
    """Files go back, unless the database has a part already: then they belong to it, and a second run goes on."""
    part = applied(change)
    if part:
        told = f"{error} The database has {', '.join(part)}: the files stay. Run it again to go on."
        changes._fail(change, "migrate", by, told)
        return
    step = SchemaChange.objects.values_list("step", flat=True).get(pk=change.pk)
    repository.put_back(change.files)
    changes._fail(change, step, by, f"{error} Every file is as it was.")


def _message(change: SchemaChange) -> str:
    title = change.title[:60].rstrip(".")
    return f"{title}\n\nAsked for by {change.proposed_by}, approved by {change.approved_by}."


def _done(change: SchemaChange, by: str, commit: str, why_not: str) -> SchemaChange:
    """The generation is what running processes watch."""
    with connection.cursor() as cursor:
        cursor.execute(NEXT)
        generation = cursor.fetchone()[0]
    changes._move(
        change,
        (State.APPLYING,),
        State.APPLIED,
        step="",
        error="",
        notes=why_not,
        generation=generation,
        applied_at=clock(),
    )
    details = {"files": sorted(change.files), "generation": generation, "not_committed": why_not}
    audit.record(
        "schema.apply", by, ("schema_change", change.pk), details,
        git_commit=commit or None, git_branch=(repository.branch() or None) if commit else None,
    )  # fmt: skip
    log.info("schema change applied", title=change.title, generation=generation, commit=commit)
    return change


def generation() -> int:
    """The number of the last change that was applied."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(max(generation), 0) FROM schema_changes")
        return int(cursor.fetchone()[0])
