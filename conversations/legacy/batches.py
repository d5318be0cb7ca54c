"""The course of an import: begun or gone on with, chunk by chunk, compared, done."""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import structlog
from django.db import Error, connection, transaction

from agents import audit
from conversations.legacy import overlapping, placing, verifying
from conversations.legacy.chunks import Chunk, ahead, chunks
from conversations.legacy.cleaning import Rules, encode
from conversations.legacy.errors import LegacyError, NoSuchImportError
from conversations.legacy.placing import Run
from conversations.legacy.report import Report
from conversations.legacy.sources import Source
from conversations.legacy.talks import Home
from conversations.models import ImportBatch, ImportChat, ImportReject, ImportShare, ImportStatus, ShareState

log = structlog.get_logger(__name__)

Progress = Callable[[Chunk, Report], None]


@dataclass(frozen=True)
class Terms:
    """Where the conversations go, and by which rules they are read."""

    rules: Rules
    channel: str = "import"
    agent_id: UUID | None = None
    user_id: int | None = None
    name: str = ""  # of the source, where its own would not be the same the next time
    told: dict[str, Any] = field(default_factory=dict)  # the options, to be seen in the admin


def bring(source: Source, terms: Terms, *, by: str, progress: Progress | None = None) -> ImportBatch:
    """Import what is new in the source; one that was interrupted goes on where it was."""
    run = begin(source, terms, by=by)
    connection.close()  # others write; it would lie idle for hours, and be hung up on by somebody in between
    try:
        with _without_collector(), verifying.beside(run.home.batch) as compare:
            for chunk in overlapping.written(run, ahead(chunks(source, terms.rules, run.position))):
                compare(run.settled)
                if progress:
                    progress(chunk, run.report)
        return finish(run, by=by)
    except (LegacyError, Error, OSError) as error:
        _fail(run, str(error), type(error).__name__)
        raise
    except KeyboardInterrupt:
        _fail(run, "Stopped by hand.", "KeyboardInterrupt")
        raise


def rehearse(source: Source, terms: Terms, *, progress: Progress | None = None) -> Report:
    """Read everything and write nothing: what an import would find and do."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT uuidv7(), clock_timestamp()")
        id_, now = cursor.fetchone()
    run = Run(Home(id_, _named(source, terms), terms.channel, terms.agent_id, terms.user_id, now), 0, Report())
    run.undone = _undone(run.home.source)
    for chunk in ahead(chunks(source, terms.rules, None)):
        plan = placing.prepared(run, chunk, dry=True)
        deque(placing.rows(run, plan, chunk), maxlen=0)
        plan.report.conversations = len(chunk.chats.keys() - run.seen)
        run.report, run.seen = run.report.plus(plan.report), run.seen | chunk.chats.keys()
        if progress:
            progress(chunk, run.report)
    return run.report


def begin(source: Source, terms: Terms, *, by: str) -> Run:
    """The row of the import: the one that is open for this source, else a new one."""
    name = _named(source, terms)
    with transaction.atomic():
        open_one = ImportBatch.objects.select_for_update().filter(
            source=name, status__in=[ImportStatus.RUNNING, ImportStatus.FAILED]
        )
        batch = open_one.first() or ImportBatch(
            kind=source.kind, source=name, origin=source.origin, started_by=by[:100]
        )
        resumed = not batch._state.adding
        batch.generation += 1
        batch.status, batch.error, batch.options = ImportStatus.RUNNING, "", terms.told
        batch.save()
        told = {"origin": source.origin, "kind": source.kind, "brought": batch.brought}
        audit.record("import.resume" if resumed else "import.start", by, ("import", batch.pk), told)
    batch.refresh_from_db()
    home = Home(batch.pk, name, terms.channel, terms.agent_id, terms.user_id, batch.created_at)
    report = Report.of(batch.report) if batch.report else Report()
    log.info("import begins", batch=str(batch.pk), kind=source.kind, resumed=resumed)
    return Run(home, batch.generation, report, batch.position, undone=_undone(name))


def finish(run: Run, *, by: str) -> ImportBatch:
    """Compare every conversation, and say how it stands."""
    differing = verifying.verify(run.home.batch)
    # Where the source goes to and fro between its chats, some were counted again with every chunk.
    run.report.conversations = min(run.report.conversations, ImportChat.objects.filter(source=run.home.source).count())
    with transaction.atomic():
        status = ImportStatus.DIFFERS if differing else ImportStatus.DONE
        _close(run, "status = %s, report = %s, finished_at = clock_timestamp()", status, encode(run.report.as_json()))
        told = {"brought": run.report.brought, "known": run.report.known, "rejected": run.report.rejected}
        audit.record("import.done", by, ("import", run.home.batch), {**told, "differing": differing})
    log.info("import done", batch=str(run.home.batch), differing=differing, brought=run.report.brought)
    return get(run.home.batch)


def get(batch_id: UUID) -> ImportBatch:
    found = ImportBatch.objects.filter(pk=batch_id).first()
    if found is None:
        raise NoSuchImportError(f"There is no import {batch_id}.")
    return found


def rules_of(batch: ImportBatch) -> Rules:
    """As its source was read, roles that were named by hand included."""
    roles = dict(pair.split("=", 1) for pair in batch.options.get("role", []))
    zone = ZoneInfo(batch.options.get("timezone", "UTC"))
    return Rules.made(roles, zone, longest=batch.options.get("longest"))


def open_rejects(batch: ImportBatch) -> int:
    return ImportReject.objects.filter(batch=batch, state="open").count()


def _fail(run: Run, why: str, reason: str) -> None:
    """Say why, where that can be said; the import stays open and goes on when it is started again."""
    log.warning("import stopped", batch=str(run.home.batch), reason=reason)
    try:
        connection.close_if_unusable_or_obsolete()
        _close(run, "status = 'failed', error = %s", why[:2_000])
    except Error:
        return


def _close(run: Run, changes: str, *values: Any) -> None:
    """Only where nobody has gone on with it since."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE imports SET {changes}, updated_at = clock_timestamp() WHERE id = %s AND generation = %s",
            [*values, run.home.batch, run.generation],
        )


@contextmanager
def _without_collector() -> Iterator[None]:
    """Millions of records come and go, none in a cycle: looking for cycles among them costs a sixth of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _named(source: Source, terms: Terms) -> str:
    return encode(["named", terms.name] if terms.name else source.name)


def _undone(source: str) -> list[str]:
    """Imports whose messages an undo could only mark deleted: what they had brought may come again."""
    shares = ImportShare.objects.filter(
        batch__source=source, state=ShareState.UNDONE, conversation__isnull=False, batch__status=ImportStatus.UNDONE
    )
    return [str(id_) for id_ in shares.values_list("batch_id", flat=True).distinct()]
