"""The verbs of a change: propose, plan, rehearse, approve, reject, apply, revert. Each is on record."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from django.contrib.auth.models import AnonymousUser, User
from django.db import connection, transaction

from agents import audit
from agents.models import Status
from config.columns import clock
from entities import backup, hiding, loader, rehearsal
from entities.mechanic import documents, drafting, repository, writing
from entities.mechanic.documents import Document, DocumentError
from entities.mechanic.drafting import SCHEMA, DraftError
from entities.mechanic.repository import MIGRATIONS, FilesChangedError
from entities.models import SchemaChange
from entities.models.schema_change import Origin, State
from entities.postgres import ToolError
from entities.restoring import RestoreError

PERMISSION = "entities.approve_schemachange"
PLANNABLE = (State.PROPOSED, State.PLANNED, State.REHEARSED, State.FAILED)

# Agents may add a line here and read none: no RETURNING.
PROPOSE = "INSERT INTO schema_changes (title, document, origin, proposed_by) VALUES (%s, %s, %s, %s)"


class ChangeError(Exception):
    """The change is not where this step begins; the text says what to do."""


def propose(text: str | dict[str, Any], *, by: str, origin: str) -> SchemaChange:
    """Check a document and keep it; nothing is written anywhere else."""
    document = documents.read(text)
    with transaction.atomic():
        change = SchemaChange.objects.create(
            title=document.title, document=as_json(document), origin=origin, proposed_by=by[:100]
        )
        _tell("propose", change, by, {"title": change.title, "origin": origin})
    return change


def propose_for_agent(text: dict[str, Any], *, by: str) -> str:
    """An agent's proposal: kept for staff to see, and nothing more than that."""
    document = documents.read(text)
    with connection.cursor() as cursor:
        cursor.execute(PROPOSE, [document.title, json.dumps(as_json(document)), Origin.AGENT, by[:100]])
    audit.record("schema.propose", by, ("schema_change", ""), {"title": document.title, "origin": Origin.AGENT})
    return document.title


def as_json(document: Document) -> dict[str, Any]:
    """What was asked for, without what was not said."""
    return document.model_dump(exclude_defaults=True)


# --- before the approval ---
def plan(change: SchemaChange, *, by: str) -> SchemaChange:
    """Write the files and migrations into a copy, and keep what came of it: files, difference, SQL."""
    _expect(change, *PLANNABLE)
    try:
        document = documents.read(change.document)
        files, sql = drawn(document)
    except (DocumentError, DraftError) as error:
        _fail(change, "plan", by, str(error))
        raise
    diff = repository.difference(files)
    _move(change, PLANNABLE, State.PLANNED, files=files, diff=diff, sql=sql, rehearsal={}, error="", step="")
    _tell("plan", change, by, {"files": sorted(files)})
    return change


def drawn(document: Document) -> tuple[dict[str, dict[str, str | None]], str]:
    """Every file the document comes to, before and after, and the SQL of its migrations."""
    names = {table: f"{SCHEMA / table}.py" for table in loader.MODELS}
    existing = {table: repository.read(name) or "" for table, name in names.items()}
    classes = {table: model.__name__ for table, model in loader.MODELS.items()}
    made = writing.files(document, existing, classes)
    files: dict[str, dict[str, str | None]] = {
        f"{SCHEMA / table}.py": {"before": repository.read(f"{SCHEMA / table}.py"), "after": text}
        for table, text in made.items()
    }
    drafted = drafting.draft({path: texts["after"] or "" for path, texts in files.items()}, document.title)
    files |= {f"{MIGRATIONS / name}": {"before": None, "after": text} for name, text in drafted.migrations.items()}
    return files, drafted.sql


def rehearse(change: SchemaChange, *, by: str) -> SchemaChange:
    """Back up, restore into a copy, migrate the copy with the planned files, compare."""
    _expect(change, State.PLANNED, State.REHEARSED)
    try:
        repository.check(change.files)
        taken = backup.take(by=by, reason=backup.REHEARSAL)
        with drafting.copy_with({path: texts["after"] for path, texts in change.files.items()}) as folder:
            told = rehearsal.rehearse(taken, ["entities"], folder=folder)
    except (FilesChangedError, ToolError, RestoreError, OSError) as error:
        _fail(change, "rehearse", by, str(error))
        raise ChangeError(str(error)) from error
    if not told.ok:
        _fail(change, "rehearse", by, told.told(), rehearsal=told.as_json())
        raise ChangeError(told.told())
    _move(change, (State.PLANNED, State.REHEARSED), State.REHEARSED, rehearsal=told.as_json(), error="")
    _tell("rehearse", change, by, {"seconds": told.seconds, "rows": told.rows, "changed": told.changed})
    return change


# --- staff ---
def approve(change: SchemaChange, *, user: User | AnonymousUser) -> SchemaChange:
    """A person who may says yes to these files and this SQL. An agent is no person."""
    if not (user.is_authenticated and user.is_active and user.is_staff and user.has_perm(PERMISSION)):
        raise ChangeError("Only staff with the permission to approve changes of the tables may do this.")
    name = user.get_username()
    _move(change, (State.REHEARSED,), State.APPROVED, approved_by=name[:100])
    _tell("approve", change, name, {"files": sorted(change.files)})
    return change


def reject(change: SchemaChange, *, by: str) -> SchemaChange:
    """No; it is kept, with who said so."""
    _move(change, (*PLANNABLE, State.APPROVED), State.REJECTED)
    _tell("reject", change, by, {})
    return change


def revert(change: SchemaChange, *, by: str) -> SchemaChange:
    """Hide what it added from admin and forms. Rows, columns and tables stay."""
    _move(change, (State.APPLIED,), State.REVERTED)
    _tell("revert", change, by, {"hidden": sorted(hiding.added_by(change))})
    return change


def show(change: SchemaChange, *, by: str) -> SchemaChange:
    """Take a revert back."""
    _move(change, (State.REVERTED,), State.APPLIED)
    _tell("show", change, by, {})
    return change


def find(wanted: str) -> SchemaChange:
    """By its id, the beginning or the end of it, or `latest`."""
    everything = SchemaChange.objects.order_by("-id")
    if wanted == "latest":
        found = list(everything[:1])
    else:
        try:
            found = list(everything.filter(pk=UUID(wanted)))
        except ValueError:
            found = [one for one in everything if str(one.pk).startswith(wanted) or str(one.pk).endswith(wanted)]
    if len(found) != 1:
        if wanted == "latest":
            raise ChangeError("No change is planned yet. Begin with `manage.py mechanic plan FILE` (docs/mechanic.md).")
        raise ChangeError(f"There is {'no' if not found else 'more than one'} change {wanted[:50]!r}.")
    return found[0]


# --- how ---
def _expect(change: SchemaChange, *states: str) -> None:
    change.refresh_from_db()
    if change.state not in states:
        raise ChangeError(f"{change.title}: it is {change.get_state_display()}, not {' or '.join(states)}.")


def _move(change: SchemaChange, allowed: tuple[str, ...], state: str, **values: Any) -> None:
    """The row says who came first."""
    moved = SchemaChange.objects.filter(pk=change.pk, state__in=allowed).update(
        state=state, updated_at=clock(), **values
    )
    change.refresh_from_db()
    if not moved:
        raise ChangeError(f"{change.title}: it is {change.get_state_display()}, not {' or '.join(allowed)}.")


def _fail(change: SchemaChange, step: str, by: str, error: str, **values: Any) -> None:
    SchemaChange.objects.filter(pk=change.pk).update(
        state=State.FAILED, step=step, error=error[:5000], updated_at=clock(), **values
    )
    change.refresh_from_db()
    _tell(step, change, by, {"error": error[:500]}, status=Status.FAILURE)


def _tell(verb: str, change: SchemaChange, by: str, details: dict[str, Any], **more: Any) -> None:
    audit.record(f"schema.{verb}", by, ("schema_change", change.pk), details, **more)
