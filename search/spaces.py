"""Spaces: one serves; another may be on its way while it does. The two are never compared (ADR 0102).

    ""  --adopted by the first embedder-->  serving  --model changes-->  next one building: texts are copied, vectors
    made, its index built; then it serves and the former is retired and cleared away, in a step each.

Every step is small, committed, and found again by `step()` after a crash.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from django.db import connection, transaction

from config import deeds
from config.columns import clock
from search import embedders, vector_index
from search.embedders import Embedder
from search.models import Space, Status

log = structlog.get_logger(__name__)

COPY_BATCH = 1_000  # entries
CLEAR_BATCH = 2_000
RETIRE_AFTER = timedelta(minutes=1)  # searches that began in a former space have ended by then
BY = "search"  # the actor in the record

# Whoever writes entries holds this lock shared; whoever makes, copies or activates a space holds it alone, for moments.
LOCK = 0x5EA2C4


def hold() -> None:
    """In the caller's transaction: the set of living spaces does not change until it ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [LOCK])


def _alone() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])


def serving() -> Space | None:
    """The space that is searched; None before the first entry of an installation."""
    return Space.objects.filter(status=Status.ACTIVE).first()


def building() -> Space | None:
    return Space.objects.filter(status=Status.BUILDING).first()


def embedder_now() -> Embedder | None:
    """The embedder of the settings; one that cannot be made must not cost the search by word."""
    return _made(embedders.current)


def embedder_of(space: Space) -> Embedder | None:
    """Whoever can make vectors for this space."""
    return _made(lambda: embedders.of(space.model, space.dimensions)) if space.dimensions else None


def _made(make: Callable[[], Embedder | None]) -> Embedder | None:
    try:
        return make()
    except Exception:  # a package that is missing, weights that are broken, settings that contradict each other
        log.exception("the embedder cannot be made: by word only")
        return None


def ensure_current() -> Space:
    """Let the spaces be those the settings ask for, and return the one that new texts are embedded for first.

    Without an embedder nothing changes: the vectors that are there stay, and wait for one.
    """
    embedder = embedder_now()
    wanted = (embedder.model, embedder.dimensions) if embedder else None
    active, next_ = serving(), building()
    if active is not None and wanted in (None, _of(active)) and next_ is None:
        return active
    if active is not None and wanted is not None and next_ is not None and _of(next_) == wanted != _of(active):
        return active
    with transaction.atomic():
        _alone()
        return _arrange(wanted)


def _arrange(wanted: tuple[str, int] | None) -> Space:
    active, next_ = serving(), building()
    model, dimensions = wanted or ("", 0)
    if active is None:
        return _create(model, dimensions, status=Status.ACTIVE, activated_at=clock())
    if wanted is None:
        return active
    if next_ is not None and _of(next_) != wanted:
        retire(next_)
        next_ = None
    if _of(active) == wanted:
        return active
    if not active.model:  # its texts have waited for a first embedder: no second copy of them is needed
        Space.objects.filter(pk=active.pk).update(model=model, dimensions=dimensions, updated_at=clock())
        deeds.tell("search.adopt", BY, ("search_space", active.pk), {"model": model, "dimensions": dimensions})
        active.refresh_from_db()
    elif next_ is None:
        made = _create(model, dimensions)
        deeds.tell("search.switch", BY, ("search_space", made.pk), {"from": str(active), "to": str(made)})
    return active


def _create(model: str, dimensions: int, **values: Any) -> Space:
    made = Space.objects.create(model=model, dimensions=dimensions, **values)
    vector_index.forget(made)
    return made


# FOR KEY SHARE: an entry that is being deleted is waited for and not copied (see search_forget).
COPY = """
WITH page AS (
    SELECT * FROM search_index WHERE space = %(source)s AND (%(after)s::uuid IS NULL OR id > %(after)s::uuid)
    ORDER BY id LIMIT %(limit)s FOR KEY SHARE
), copied AS (
    INSERT INTO search_index (entity_type, entity_id, chunk, space, content, embedding, metadata, user_id, deleted, at)
    SELECT entity_type, entity_id, chunk, %(space)s, content, NULL, metadata, user_id, deleted, at FROM page
    ON CONFLICT (entity_type, entity_id, chunk, space) DO NOTHING RETURNING id
), waiting AS (
    INSERT INTO search_unembedded (entry_id, space) SELECT id, %(space)s FROM copied
)
SELECT (SELECT count(*) FROM page), (SELECT id FROM page ORDER BY id DESC LIMIT 1)
"""


def copy_batch(space: Space, limit: int = COPY_BATCH) -> int:
    """Copy the next texts of the serving space into one that is being built; 0 when all are there."""
    with transaction.atomic(), connection.cursor() as cursor:
        _alone()
        source, space = serving(), Space.objects.select_for_update().get(pk=space.pk)
        if source is None or space.status != Status.BUILDING or space.copied_at is not None:
            return 0
        values = {"source": source.pk, "space": space.pk, "after": space.copied_upto, "limit": limit}
        cursor.execute(COPY, values)
        copied, last = cursor.fetchone()
        changes: dict[str, Any] = {"copied_upto": last} if copied else {"copied_at": clock()}
        Space.objects.filter(pk=space.pk).update(updated_at=clock(), **changes)
    return int(copied)


UNFINISHED = """
SELECT EXISTS (
    SELECT FROM search_unembedded u JOIN search_spaces s ON s.id = u.space
    WHERE s.id = %s AND u.state = 'waiting' AND u.created_at <= s.copied_at
)
"""


def complete(space: Space) -> bool:
    """Is everything embedded that was there when the last text had been copied? What came later is on its way."""
    if space.copied_at is None:
        return False
    with connection.cursor() as cursor:
        cursor.execute(UNFINISHED, [space.pk])
        return not cursor.fetchone()[0]


def activate(space: Space) -> bool:
    """Let a complete space serve in place of the present one, in one transaction."""
    with transaction.atomic():
        _alone()
        space = Space.objects.select_for_update().get(pk=space.pk)
        if space.status != Status.BUILDING or not complete(space):
            return False
        former = serving()
        if former is not None:
            retire(former)
        Space.objects.filter(pk=space.pk).update(status=Status.ACTIVE, activated_at=clock(), updated_at=clock())
        told = {"from": str(former) if former else "", "to": str(space)}
        deeds.tell("search.activate", BY, ("search_space", space.pk), told)
    log.info("search space activated", space=space.pk, model=space.model)
    return True


def retire(space: Space) -> None:
    """Nobody is to search it any more; `step` clears it away."""
    Space.objects.filter(pk=space.pk).update(status=Status.RETIRED, retired_at=clock(), updated_at=clock())


def clear(space: Space, limit: int = CLEAR_BATCH) -> int:
    """Remove some entries of a retired space, and say how many."""
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM search_index WHERE id IN (SELECT id FROM search_index WHERE space = %s LIMIT %s)",
            [space.pk, limit],
        )
        return int(cursor.rowcount)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a space is, for staff: each from 0 to 1."""

    space: Space
    copied: float
    embedded: float
    indexed: float  # of its index of vectors: 1 when valid

    @property
    def done(self) -> bool:
        return self.indexed == 1.0 and self.embedded == 1.0


def progress(space: Space) -> Progress:
    """Copied and embedded as last counted, the index as PostgreSQL tells."""
    source = serving()
    copied = 1.0
    if space.status == Status.BUILDING and space.copied_at is None and source is not None:
        copied = min(space.entries / source.entries, 1.0) if source.entries else 0.0
    settled = space.embedded + space.failed
    embedded = min(settled / space.entries, 1.0) if space.entries else 1.0
    return Progress(space, copied, copied * embedded, vector_index.progress(space))


def due() -> list[str]:
    """What has to be done next: copy, index, activate (building), clear (retired); empty when all is well."""
    steps = []
    active, next_ = serving(), building()
    if active is not None and active.dimensions and _to_build(active):
        steps.append("index")
    if next_ is not None:
        if next_.copied_at is None:
            steps.append("copy")
        elif complete(next_):
            if vector_index.valid(next_):
                steps.append("activate")
            elif _to_build(next_):
                steps.append("index")
    if _to_clear().exists():
        steps.append("clear")
    return steps


def _to_build(space: Space) -> bool:
    return not vector_index.valid(space) and not vector_index.paused(space)


def step(seconds: float = 20.0) -> list[str]:
    """Do what is due, each for a while; outside a transaction, since indexes are built beside the traffic."""
    until = time.monotonic() + seconds
    steps = due()
    for name in steps:
        match name:
            case "copy":
                next_ = building()
                while next_ is not None and copy_batch(next_) and time.monotonic() < until:
                    pass
            case "index":
                for space in Space.objects.exclude(status=Status.RETIRED).filter(dimensions__gt=0):
                    if (space.status == Status.ACTIVE or complete(space)) and _to_build(space):
                        vector_index.build(space)
            case "activate":
                next_ = building()
                if next_ is not None:
                    activate(next_)
            case "clear":
                _clear_away(until)
    return steps


def _to_clear() -> Any:
    return Space.objects.filter(status=Status.RETIRED, cleared_at__isnull=True, retired_at__lt=clock() - RETIRE_AFTER)


def _clear_away(until: float) -> None:
    for space in _to_clear():
        vector_index.drop(space)
        while (gone := clear(space)) and time.monotonic() < until:
            pass
        if not gone:
            zero = {"entries": 0, "embedded": 0, "pending": 0, "failed": 0}
            Space.objects.filter(pk=space.pk).update(cleared_at=clock(), updated_at=clock(), **zero)


def _of(space: Space) -> tuple[str, int]:
    return (space.model, space.dimensions)
