"""What the queue does for this room."""

from __future__ import annotations

import structlog

from config.queue import every, task
from entities import backup
from entities.mechanic import applying, changes
from entities.mechanic.changes import ChangeError
from entities.mechanic.documents import DocumentError
from entities.mechanic.drafting import DraftError
from entities.models import SchemaChange

log = structlog.get_logger(__name__)


@every(3600, offset=600)
@task("backups.look", timeout=3600, attempts=3)
def look() -> None:
    """Take the daily backup once it is due, whenever the machine was on."""
    if backup.is_due():
        backup.take(by="schedule", reason="daily")


@task("mechanic.prepare", timeout=1800, attempts=2)
def prepare(change_id: str, by: str) -> None:
    """Plan and rehearse what was proposed; what stands in the way is in the change's row."""
    change = SchemaChange.objects.get(pk=change_id)
    try:
        changes.rehearse(changes.plan(change, by=by), by=by)
    except (ChangeError, DocumentError, DraftError) as error:
        log.warning("schema change not prepared", change=change_id, reason=str(error)[:300])


@task("mechanic.apply", timeout=1800, attempts=2)
def apply(change_id: str, by: str) -> None:
    """Apply what staff approved; a second attempt goes on where a killed one ended."""
    try:
        applying.apply(SchemaChange.objects.get(pk=change_id), by=by)
    except ChangeError as error:
        log.warning("schema change not applied", change=change_id, reason=str(error)[:300])
