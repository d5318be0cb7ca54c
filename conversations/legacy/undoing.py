"""Undo: what an import brought goes, and nothing else does.

A conversation that the import opened and nobody continued is erased, by the audited path that erasing always takes.
Elsewhere the log lets nobody tear a hole into a conversation: what the import brought there is marked deleted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import accumulate
from uuid import UUID

import structlog
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models import Count, Q, Sum

from agents import audit
from agents.models import Status
from config.columns import clock
from config.crash import crash_point
from conversations import corrections, erasure
from conversations.legacy.batches import get
from conversations.legacy.errors import LegacyError, WrittenSinceError
from conversations.models import ImportBatch, ImportChat, ImportShare, ImportStatus, Message, ShareState

log = structlog.get_logger(__name__)

SHOWN = 3
AT_ONCE = 200  # conversations in one transaction, of no more than
MESSAGES = 20_000  # messages, but for a larger one
PART = 20  # transactions in one task
BROUGHT = [state for state in ShareState.values if state != ShareState.UNDONE]  # what there still is to take back
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


Progress = Callable[[int], None]  # told how many more conversations are done


@dataclass(frozen=True, slots=True)
class Undone:
    """Conversations that were erased, those in which messages were marked deleted, and how many messages."""

    erased: int
    marked: int
    messages: int


def undo(batch_id: UUID, *, by: str, force: bool = False, progress: Progress | None = None) -> Undone:
    """Take back what an import brought; an undo that was interrupted goes on."""
    while (done := undo_some(batch_id, by=by, force=force, progress=progress)) is None:
        continue
    return done


def undo_some(batch_id: UUID, *, by: str, force: bool = False, progress: Progress | None = None) -> Undone | None:
    """The next part. None while some is left."""
    batch = begin(batch_id, by=by, force=force)
    for _transaction in range(PART):
        taken = _take_back(batch, by=by, force=force)
        if not taken:
            return _finish(batch, by=by)
        crash_point("in_import_undo")
        if progress:
            progress(taken)
    return None


def left(batch_id: UUID) -> int:
    """How many conversations still have something of the import."""
    return ImportShare.objects.filter(batch=batch_id, state__in=BROUGHT).count()


def continued(batch_id: UUID) -> tuple[int, list[UUID]]:
    """In how many conversations something was said since, and some of them."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) {CONTINUED}", {"batch": batch_id})
        number = cursor.fetchone()[0]
        cursor.execute(f"SELECT talk.id {CONTINUED} ORDER BY talk.id LIMIT {SHOWN}", {"batch": batch_id})
        return number, [id_ for (id_,) in cursor.fetchall()]


def begin(batch_id: UUID, *, by: str, force: bool) -> ImportBatch:
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
        if locked.status == ImportStatus.UNDONE:
            raise NothingToUndoError
        if locked.status != ImportStatus.UNDOING:
            locked.generation += 1  # a process that still imports writes nothing more
            locked.status = ImportStatus.UNDOING
            locked.save(update_fields=["generation", "status"])
            audit.record("import.undo", by, ("import", batch_id), {"force": force}, status=Status.STARTED)
    return locked


def _take_back(batch: ImportBatch, *, by: str, force: bool) -> int:
    """The next conversations, in one transaction. How many there were."""
    with transaction.atomic(), connection.cursor() as cursor:
        shares = _next(batch)
        ids = [share.conversation_id for share in shares if share.conversation_id is not None]
        cursor.execute(erasure.LOCK, [ids])
        cursor.execute(f"SELECT talk.id {CONTINUED} AND talk.id = ANY(%(ids)s)", {"batch": batch.pk, "ids": ids})
        more = {id_ for (id_,) in cursor.fetchall()}
        if more and not force:
            raise WrittenSinceError(f"Something was said in {min(more)} just now; the undo stopped there.")
        gone = []
        for share in shares:
            if share.conversation_id is None:  # erased here since
                continue
            if share.opened and share.conversation_id not in more:
                gone.append(share.conversation_id)
            elif share.messages:
                _mark(cursor, share, share.conversation_id, by=by)
        _erase(batch, gone, by=by)
        ImportShare.objects.filter(pk__in=[share.pk for share in shares]).update(state=ShareState.UNDONE)
    return len(shares)


def _next(batch: ImportBatch) -> list[ImportShare]:
    """As many as fit one transaction; what somebody else takes back meanwhile is waited for and passed over."""
    brought = ImportShare.objects.filter(batch=batch, state__in=BROUGHT)
    found = list(
        brought.order_by("state", "id").select_for_update()[:AT_ONCE]
    )  # as the index import_shares_to_do has them
    size = accumulate(share.messages for share in found)
    return [share for place, (share, upto) in enumerate(zip(found, size, strict=True)) if not place or upto <= MESSAGES]


def _erase(batch: ImportBatch, ids: list[UUID], *, by: str) -> None:
    """With the lines that say their chats are known: whoever imports the source again means to have them back."""
    if not ids:
        return
    chats = list(ImportChat.objects.filter(conversation__in=ids).values_list("pk", flat=True))
    erasure.erase_all(ids, by=by, reason=f"undo of import {batch.pk}")
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
        if ImportBatch.objects.filter(pk=batch.pk, status=ImportStatus.UNDOING).update(**changes):
            audit.record("import.undo", by, ("import", batch.pk), asdict(undone))
    log.info("import undone", batch=str(batch.pk), by=by, **asdict(undone))
    return undone
