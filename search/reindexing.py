"""Making the index anew, and proving it: what the sources say beside what the index holds, page by page.

Every page is committed for itself, and which page comes next is told to the caller, so that a run can be resumed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from config.crash import crash_point
from search import indexing, spaces, watching
from search.declarations import Searchable, declared
from search.models import Entry, Pending, Space

PAGE = 500  # rows of a source


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a comparison found wrong; all zeros is as it should be."""

    checked: int = 0  # rows of sources
    missing: int = 0  # rows with no entry, or too few chunks
    stale: int = 0  # entries that say something else than their row
    orphans: int = 0  # entries of rows that are gone, or of types nobody declares
    dead: int = 0  # entries without a vector that nobody is going to make
    examples: tuple[str, ...] = field(default=())

    @property
    def wrong(self) -> int:
        return self.missing + self.stale + self.orphans + self.dead

    def __add__(self, other: Verdict) -> Verdict:
        numbers = {
            name: getattr(self, name) + getattr(other, name)
            for name in ("checked", "missing", "stale", "orphans", "dead")
        }
        return Verdict(**numbers, examples=(self.examples + other.examples)[:10])


@dataclass(frozen=True, slots=True)
class Page:
    """One page of one source: what was found, and where the next begins."""

    entity_type: str
    upto: UUID
    verdict: Verdict


def total(types: Sequence[str]) -> int:
    return sum(declared()[entity_type].queryset().count() for entity_type in types)


def reindex(entity_type: str, *, after: UUID | None = None) -> Iterator[Page]:
    """Bring the entries of every row up to date, page by page."""
    for ids in _pages(declared()[entity_type], after):
        with transaction.atomic():
            spaces.hold()
            changed, gone = indexing.bring_up_to_date(entity_type, ids)
        crash_point("search_page")
        yield Page(entity_type, ids[-1], Verdict(checked=len(ids), stale=changed + gone))


def verify(entity_type: str, *, after: UUID | None = None, repair: bool = False) -> Iterator[Page]:
    """Compare every row with its entries in every living space; `repair` mends what is wrong."""
    for ids in _pages(declared()[entity_type], after):
        with transaction.atomic():
            spaces.hold()
            verdict = _compared(declared()[entity_type], ids)
            if repair and verdict.wrong:
                indexing.bring_up_to_date(entity_type, ids)
        yield Page(entity_type, ids[-1], verdict)


def _pages(searchable: Searchable, after: UUID | None) -> Iterator[list[UUID]]:
    while True:
        rows = searchable.queryset().order_by("pk")
        rows = rows.filter(pk__gt=after) if after is not None else rows
        ids = list(rows.values_list("pk", flat=True)[:PAGE])
        if not ids:
            return
        yield ids
        after = ids[-1]


COMPARED = ("content", "metadata", "user_id", "deleted", "at")


def _compared(searchable: Searchable, ids: Sequence[UUID]) -> Verdict:
    wanted = {
        (UUID(row["entity_id"]), row["chunk"]): tuple(row[name] for name in COMPARED)
        for source in searchable.fetch(ids)
        for row in indexing.entries_of(searchable, source)
    }
    # What a trigger has noticed and a worker will index in a moment is not wrong.
    waiting = set(Pending.objects.filter(entity_id__in=ids).values_list("entity_id", flat=True))
    verdict = Verdict(checked=len(ids))
    for space in Space.objects.exclude(status="retired"):
        held = _held(searchable.entity_type, ids, space)
        verdict += _judged(searchable.entity_type, wanted, held, waiting)
    return verdict


def _held(entity_type: str, ids: Sequence[UUID], space: Space) -> dict[tuple[UUID, int], tuple[Any, ...]]:
    rows = Entry.objects.filter(entity_type=entity_type, entity_id__in=ids, space=space)
    return {(entity_id, chunk): tuple(rest) for entity_id, chunk, *rest in rows.values_list(
        "entity_id", "chunk", *COMPARED)}  # fmt: skip


def _judged(
    entity_type: str,
    wanted: dict[tuple[UUID, int], tuple[Any, ...]],
    held: dict[tuple[UUID, int], tuple[Any, ...]],
    waiting: set[UUID],
) -> Verdict:
    missing = {key for key in wanted if key not in held and key[0] not in waiting}
    surplus = {key for key in held if key not in wanted and key[0] not in waiting}
    stale = {
        key for key, row in held.items() if key in wanted and row != wanted[key] and key[0] not in waiting
    } | surplus
    told = [f"missing {entity_type} {id_} chunk {chunk}" for id_, chunk in sorted(missing)[:5]]
    told += [f"stale {entity_type} {id_} chunk {chunk}" for id_, chunk in sorted(stale)[:5]]
    return Verdict(missing=len(missing), stale=len(stale), examples=tuple(told))


ORPHANS = """
SELECT DISTINCT entity_id FROM search_index entry WHERE entity_type = %s
    AND NOT EXISTS (SELECT FROM {table} source WHERE source.id = entry.entity_id)
"""
DEAD = """
SELECT entry.id, entry.space FROM search_index entry JOIN search_spaces ON search_spaces.id = entry.space
WHERE status <> 'retired' AND embedding IS NULL
    AND NOT EXISTS (SELECT FROM search_unembedded WHERE entry_id = entry.id)
"""


def verify_remains(types: Sequence[str], *, repair: bool = False) -> Verdict:
    """What only the index knows of: entries without a source, and entries without a vector that nobody works on."""
    verdict = Verdict()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")
        for entity_type in types:
            table = connection.ops.quote_name(declared()[entity_type].table)
            cursor.execute(ORPHANS.format(table=table), [entity_type])
            gone = [id_ for (id_,) in cursor.fetchall()]
            told = tuple(f"orphan {entity_type} {id_}" for id_ in gone[:5])
            verdict += Verdict(orphans=len(gone), examples=told)
            if repair and gone:
                cursor.execute("SELECT search_forget(%s, %s)", [entity_type, gone])
        cursor.execute(DEAD)
        dead = cursor.fetchall()
        verdict += Verdict(dead=len(dead), examples=tuple(f"no vector for entry {id_}" for id_, _space in dead[:5]))
        if repair and dead:
            cursor.execute(f"INSERT INTO search_unembedded (entry_id, space) {DEAD} ON CONFLICT DO NOTHING")
    return verdict


def undeclared(*, repair: bool = False) -> Verdict:
    """Entries of types nobody declares: a room was taken out, or its release is older than the database."""
    strangers = Entry.objects.exclude(entity_type__in=list(declared()))
    verdict = Verdict(orphans=strangers.count())
    if verdict.orphans:
        verdict = replace(verdict, examples=("entries of a type that is not declared",))
    if repair:
        strangers.delete()
    return verdict


def prepare() -> None:
    """Triggers, a space, and another chance for the rows that were given up."""
    watching.watch()
    spaces.ensure_current()
    Space.objects.filter(index_due_at__isnull=False).update(index_due_at=None)
    Pending.objects.filter(attempts__gt=0).update(attempts=0, error="", leased_until=None)
