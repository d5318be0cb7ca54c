"""Rejects, once more: with another rule for roles, or because staff say that they are to be stored all the same."""

from __future__ import annotations

import json
from dataclasses import replace
from uuid import UUID

from django.db import connection, transaction

from agents import audit
from conversations.legacy import placing, verifying, writing
from conversations.legacy.batches import get
from conversations.legacy.blob import record_of
from conversations.legacy.chunks import Chunk
from conversations.legacy.cleaning import Rules, clean, escaped
from conversations.legacy.placing import Run
from conversations.legacy.records import Broken, Chat, Clean, Record
from conversations.legacy.report import Report
from conversations.legacy.talks import Home
from conversations.models import ImportBatch, ImportReject, ImportStatus, RejectState

AT_ONCE = 500
POSITION = 0  # of no meaning: what comes late has no place among the others


def retry(batch_id: UUID, rules: Rules, *, by: str, only: list[UUID] | None = None) -> tuple[int, int]:
    """Store at the end of their conversations what can be stored now: how many were, how many stay rejected."""
    batch = get(batch_id)
    rejects = ImportReject.objects.filter(batch=batch, state=RejectState.OPEN).order_by("id")
    if only is not None:
        rejects = rejects.filter(pk__in=only)
    stored, last = 0, None
    while chosen := list((rejects.filter(pk__gt=last) if last else rejects).select_related("chat")[:AT_ONCE]):
        stored, last = stored + _retry(batch, chosen, rules, by=by), chosen[-1].pk
    if stored:
        verifying.verify(batch.pk)
    return stored, rejects.count()


def dismiss(reject_ids: list[UUID], *, by: str) -> int:
    """Staff say that nobody will miss them; they stay to be seen."""
    with transaction.atomic():
        found = ImportReject.objects.filter(pk__in=reject_ids, state=RejectState.OPEN)
        batches = {str(id_) for id_ in found.values_list("batch_id", flat=True)}
        number = found.update(state=RejectState.DISMISSED)
        for batch in batches:
            audit.record("import.dismiss", by, ("import", batch), {"rejects": number})
    return number


def _retry(batch: ImportBatch, chosen: list[ImportReject], rules: Rules, *, by: str) -> int:
    with transaction.atomic():
        ids = [reject.pk for reject in chosen]
        open_ones = ImportReject.objects.select_for_update(of=("self",)).filter(pk__in=ids, state=RejectState.OPEN)
        items = {reject.pk: item for reject in open_ones.select_related("chat") if (item := _again(reject, rules))}
        if not items:
            return 0
        home = Home(batch.pk, batch.source, "", None, None, batch.created_at)
        run = Run(home, batch.generation, Report())
        chunk = Chunk(list(items.values()), {}, 0)
        plan = placing.prepared(run, chunk, careful=True)
        writing.send(run, plan, chunk)
        locked = ImportBatch.objects.select_for_update().get(pk=batch.pk)  # after the conversations, as an import does
        if locked.status in {ImportStatus.UNDOING, ImportStatus.UNDONE}:
            transaction.set_rollback(True)
            return 0
        writing.settle(run, plan)
        done = ImportReject.objects.filter(pk__in=items).update(state=RejectState.STORED)
        _count(batch.pk, plan.report.brought)
        audit.record("import.retry", by, ("import", batch.pk), {"stored": done})
    return done


def _again(reject: ImportReject, rules: Rules) -> Clean | None:
    """The message in a reject, under a name of its own; None where it still cannot be one."""
    if reject.chat is None or reject.chat.conversation_id is None or not reject.whole:
        return None
    try:
        value = json.loads(reject.payload)
    except ValueError:
        return None
    record = record_of(value, Chat(reject.chat.key), POSITION)
    if isinstance(record, Broken):
        return None
    item = clean(_named(record, reject), rules)
    return item if isinstance(item, Clean) else None


def _named(record: Record, reject: ImportReject) -> Record:
    return replace(record, id=escaped(["reject", str(reject.pk)]))


def _count(batch_id: UUID, stored: int) -> None:
    """Only what was stored changes sides: the sum stays what was read."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE imports SET brought = brought + %s, rejected = rejected - %s, updated_at = clock_timestamp()"
            " WHERE id = %s",
            [stored, stored, batch_id],
        )
