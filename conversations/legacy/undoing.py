"""Undo: what an import brought goes, and nothing else does.

A conversation that the import opened and nobody continued is erased, by the audited path that erasing always takes.
Elsewhere the log lets nobody tear a hole into a conversation: what the import brought there is marked deleted.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from uuid import UUID

import structlog
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models import Count, Q, Sum

from agents import audit
from agents.models import Status
from config.columns import clock
from config.crash import crash_point
from conversations import buffering, corrections, erasure
from conversations.legacy.batches import get
from conversations.legacy.errors import LegacyError, WrittenSinceError
from conversations.models import ImportBatch, ImportChat, ImportShare, ImportStatus, Message, ShareState

log = structlog.get_logger(__name__)

SHOWN = 3
AT_ONCE = 1_000  # conversations
# Later messages, of people or of a later import, stand behind ours or between them.
CONTINUED = """
FROM import_shares AS share JOIN conversations AS talk ON talk.id = share.conversation_id
WHERE share.batch_id = %(batch)s AND share.state <> 'undone' AND (
    talk.message_count > coalesce(share.last_index + 1, 0)
    OR share.last_index - share.first_index + 1 <> share.messages)
"""
MARK = """
UPDATE messages SET deleted_at = clock_timestamp()
WHERE conversation_id = %s AND import_id = %s AND message_index BETWEEN %s AND %s AND deleted_at IS NULL
"""


class NothingToUndoError(LegacyError):
    """The import is undone already."""


@dataclass(frozen=True, slots=True)
class Undone:
    """Conversations that were erased, those in which messages were marked deleted, and how many messages."""

    erased: int
    marked: int
    messages: int


def undo(batch_id: UUID, *, by: str, force: bool = False) -> Undone:
    """Take back what an import brought; an undo that was interrupted goes on."""
    while (done := undo_some(batch_id, by=by, force=force)) is None:
        continue
    return done


def undo_some(batch_id: UUID, *, by: str, force: bool = False, at_most: int = AT_ONCE) -> Undone | None:
    """The next so many conversations. None while some are left."""
    batch = _begin(batch_id, by=by, force=force)
    shares = ImportShare.objects.filter(batch=batch).exclude(state=ShareState.UNDONE).order_by("id")
    ids = list(shares.values_list("pk", flat=True)[:at_most])
    for id_ in ids:
        _take_back(batch, id_, by=by, force=force)
        crash_point("in_import_undo")
    return _finish(batch, by=by) if len(ids) < at_most else None


def continued(batch_id: UUID) -> tuple[int, list[UUID]]:
    """In how many conversations something was said since, and some of them."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) {CONTINUED}", {"batch": batch_id})
        number = cursor.fetchone()[0]
        cursor.execute(f"SELECT talk.id {CONTINUED} ORDER BY talk.id LIMIT {SHOWN}", {"batch": batch_id})
        return number, [id_ for (id_,) in cursor.fetchall()]


def _begin(batch_id: UUID, *, by: str, force: bool) -> ImportBatch:
    """Nobody writes for this import from here on; whether people have written since is asked first."""
    batch = get(batch_id)
    if batch.status == ImportStatus.UNDONE:
        raise NothingToUndoError
    number, some = continued(batch_id)
    if number and not force:
        told = {"conversations": number}
        audit.record("import.undo", by, ("import", batch_id), told, status=Status.REFUSED)
        raise WrittenSinceError(
            f"Something was said since in {number} of its conversations, for example {', '.join(map(str, some))}. "
            "Nothing was undone. With --force these keep what was said, and what the import brought is marked deleted."
        )
    with transaction.atomic():
        locked = ImportBatch.objects.select_for_update().get(pk=batch_id)
        if locked.status != ImportStatus.UNDOING:
            locked.generation += 1  # a process that still imports writes nothing more
            locked.status = ImportStatus.UNDOING
            locked.save(update_fields=["generation", "status"])
            audit.record("import.undo", by, ("import", batch_id), {"force": force}, status=Status.STARTED)
    return locked


def _take_back(batch: ImportBatch, share_id: UUID, *, by: str, force: bool) -> None:
    """One conversation, in one transaction."""
    with transaction.atomic(), connection.cursor() as cursor:
        share = ImportShare.objects.select_for_update().get(pk=share_id)
        if share.conversation_id is not None:
            buffering.lock(share.conversation_id)
            cursor.execute(f"SELECT 1 {CONTINUED} AND share.id = %(share)s", {"batch": batch.pk, "share": share_id})
            more = cursor.fetchone() is not None
            if more and not force:
                raise WrittenSinceError(
                    f"Something was said in {share.conversation_id} just now; the undo stopped there."
                )
            if share.opened and not more:
                _erase(batch, share.conversation_id, by=by)
            elif share.messages:
                _mark(cursor, share, share.conversation_id, by=by)
        ImportShare.objects.filter(pk=share_id).update(state=ShareState.UNDONE)


def _erase(batch: ImportBatch, conversation_id: UUID, *, by: str) -> None:
    """With the line that says its chat is known: whoever imports the source again means to have it back."""
    chats = list(ImportChat.objects.filter(conversation=conversation_id).values_list("pk", flat=True))
    erasure.erase(conversation_id, by=by, reason=f"undo of import {batch.pk}")
    ImportChat.objects.filter(pk__in=chats).delete()


def _mark(cursor: CursorWrapper, share: ImportShare, conversation_id: UUID, *, by: str) -> None:
    """What still waits is not answered any more; then everything is marked deleted."""
    brought = Message.objects.filter(conversation=conversation_id, import_id=share.batch_id)
    for id_ in list(brought.filter(inbound=True, deleted_at=None).values_list("pk", flat=True)):
        corrections.retract(conversation_id, id_, by=by)
    cursor.execute("SET LOCAL statement_timeout = 0")
    cursor.execute(MARK, [conversation_id, share.batch_id, share.first_index, share.last_index])


def _finish(batch: ImportBatch, *, by: str) -> Undone:
    shares = ImportShare.objects.filter(batch=batch)
    gone, messages = Q(conversation=None), Sum("messages", default=0)
    found = shares.aggregate(
        erased=Count("pk", filter=gone & Q(opened=True)), marked=Count("pk", filter=~gone & Q(messages__gt=0)),
        messages=messages,
    )  # fmt: skip
    undone = Undone(**found)
    with transaction.atomic():
        changes = {"status": ImportStatus.UNDONE, "undone_by": by[:100], "updated_at": clock()}
        ImportBatch.objects.filter(pk=batch.pk).update(**changes)
        audit.record("import.undo", by, ("import", batch.pk), asdict(undone))
    log.info("import undone", batch=str(batch.pk), by=by, **asdict(undone))
    return undone
