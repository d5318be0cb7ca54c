"""From a changed row to its entries: searchable by word in one short transaction, by meaning when the embedder is done.

    changed row -> search_pending (trigger) -> search_index, without a vector -> search_unembedded -> vector

Taking the wake-ups and writing the entries is one transaction: a worker that dies in it has taken nothing.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from django.core.serializers.json import DjangoJSONEncoder
from django.db import InterfaceError, OperationalError, connection, transaction
from psycopg import sql

from config.crash import crash_point
from search import spaces
from search.chunks import chunks, normalised
from search.declarations import Searchable, declared

log = structlog.get_logger(__name__)

BATCH = 200  # rows of one transaction

ATTEMPTS = 3  # after which a row that breaks its indexing is left aside, where staff see it

TAKE = """
DELETE FROM search_pending WHERE id IN (
    SELECT id FROM search_pending WHERE attempts < %s ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED)
RETURNING id, entity_type, entity_id
"""
BLAME = """
UPDATE search_pending SET attempts = attempts + 1, error = %s WHERE id = (
    SELECT id FROM search_pending WHERE attempts < %s ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
"""
# Holding the rows keeps an erasure waiting until their entries are there for it to take along.
HOLD = "SELECT FROM {} WHERE id = ANY(%s) ORDER BY id FOR KEY SHARE"

# Into every space that lives. A text that was embedded in that space before brings its vector with it.
WRITE = """
WITH wanted AS (
    SELECT * FROM jsonb_to_recordset(%(rows)s::jsonb) AS row (
        entity_id uuid, chunk integer, content text, metadata jsonb, user_id bigint, deleted boolean, at timestamptz)
), written AS (
    INSERT INTO search_index AS known
        (entity_type, entity_id, chunk, space, content, embedding, metadata, user_id, deleted, at)
    SELECT %(type)s, entity_id, chunk, living.id, content, (
            SELECT twin.embedding FROM search_index twin
            WHERE twin.space = living.id AND twin.content_hash = decode(md5(wanted.content), 'hex')
                AND twin.embedding IS NOT NULL LIMIT 1
        ), metadata, user_id, deleted, coalesce(at, clock_timestamp())
    FROM wanted, search_spaces living WHERE living.status <> 'retired'
    ON CONFLICT (entity_type, entity_id, chunk, space) DO UPDATE SET
        content = EXCLUDED.content, metadata = EXCLUDED.metadata, user_id = EXCLUDED.user_id,
        deleted = EXCLUDED.deleted, at = EXCLUDED.at, updated_at = clock_timestamp(),
        embedding = CASE WHEN known.content = EXCLUDED.content THEN coalesce(known.embedding, EXCLUDED.embedding)
                         ELSE EXCLUDED.embedding END
    WHERE (known.content, known.metadata, known.user_id, known.deleted, known.at)
        IS DISTINCT FROM (EXCLUDED.content, EXCLUDED.metadata, EXCLUDED.user_id, EXCLUDED.deleted, EXCLUDED.at)
    RETURNING id, space, embedding IS NULL AS bare
), settled AS (
    DELETE FROM search_unembedded WHERE entry_id IN (SELECT id FROM written WHERE NOT bare)
), waiting AS (
    INSERT INTO search_unembedded (entry_id, space) SELECT id, space FROM written WHERE bare
    ON CONFLICT (entry_id) DO UPDATE
        SET state = 'waiting', attempts = 0, due_at = clock_timestamp(), error = '', updated_at = clock_timestamp()
)
SELECT count(*) FROM written
"""
SHORTENED = """
DELETE FROM search_index known USING jsonb_to_recordset(%(counts)s::jsonb) AS now (entity_id uuid, chunks integer)
WHERE known.entity_type = %(type)s AND known.entity_id = now.entity_id AND known.chunk >= now.chunks
"""


@dataclass(frozen=True, slots=True)
class Written:
    """What a batch did."""

    taken: int  # wake-ups
    entries: int  # new or changed
    gone: int  # removed

    def __add__(self, other: Written) -> Written:
        return Written(self.taken + other.taken, self.entries + other.entries, self.gone + other.gone)


NOTHING = Written(0, 0, 0)


def index_batch(limit: int = BATCH) -> Written:
    """Take the oldest wake-ups and bring their entries up to date; one that cannot be does not stop the others."""
    try:
        return _index(limit)
    except (OperationalError, InterfaceError):
        raise
    except Exception:  # of somebody's declaration, or a row the database refuses: find out which
        log.exception("a batch could not be indexed: one by one", rows=limit)
        return sum((_index_one() for _ in range(limit)), NOTHING)


def _index(limit: int) -> Written:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(TAKE, [ATTEMPTS, limit])
        taken = cursor.fetchall()
        if not taken:
            return NOTHING
        spaces.hold()
        by_type: dict[str, set[UUID]] = defaultdict(set)
        for _id, entity_type, entity_id in taken:
            by_type[entity_type].add(entity_id)
        crash_point("search_taken")
        done = [bring_up_to_date(entity_type, sorted(ids)) for entity_type, ids in sorted(by_type.items())]
    return Written(len(taken), sum(written for written, _ in done), sum(gone for _, gone in done))


def _index_one() -> Written:
    try:
        return _index(1)
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:
        log.exception("a row could not be indexed")
        with connection.cursor() as cursor:
            cursor.execute(BLAME, [f"{type(error).__name__}: {error}"[:500], ATTEMPTS])
        return Written(1, 0, 0)


def bring_up_to_date(entity_type: str, ids: Sequence[UUID]) -> tuple[int, int]:
    """Make the entries of these rows what they should be, in the caller's transaction: (changed, removed)."""
    searchable = declared().get(entity_type)
    if searchable is None:  # declared by a newer release, or no more: reindex tells of its entries
        log.warning("nothing is declared as this type", entity_type=entity_type, rows=len(ids))
        return 0, 0
    with connection.cursor() as cursor:
        cursor.execute(HOLD.format(sql.Identifier(searchable.table).as_string()), [list(ids)])
        wanted = [row for source in searchable.fetch(ids) for row in entries_of(searchable, source)]
        kept = Counter(row["entity_id"] for row in wanted)
        changed = write(entity_type, wanted)
        counts = [{"entity_id": id_, "chunks": number} for id_, number in kept.items()]
        cursor.execute(SHORTENED, {"type": entity_type, "counts": json.dumps(counts)})
        gone = cursor.rowcount
        cursor.execute("SELECT search_forget(%s, %s)", [entity_type, [id_ for id_ in ids if str(id_) not in kept]])
        return changed, gone + cursor.fetchone()[0]


def entries_of(searchable: Searchable, source: Any) -> list[dict[str, Any]]:
    """What the index should hold of one row: nothing where there is nothing to find."""
    pieces = chunks(searchable.text(source) or "")
    if not pieces:
        return []
    common = {
        "entity_id": str(source.pk),
        "metadata": _clean({key: value for key, value in searchable.metadata(source).items() if value is not None}),
        "user_id": searchable.user(source),
        "deleted": bool(searchable.deleted(source)),
        "at": searchable.at(source),
    }
    return [{**common, "chunk": number, "content": piece} for number, piece in enumerate(pieces)]


def write(entity_type: str, rows: Iterable[dict[str, Any]]) -> int:
    """Insert or change entries in every living space; those that are as they should be are left alone."""
    rows = list(rows)
    if not rows:
        return 0
    with connection.cursor() as cursor:
        cursor.execute(WRITE, {"type": entity_type, "rows": json.dumps(rows, cls=DjangoJSONEncoder)})
        return int(cursor.fetchone()[0])


def _clean(value: Any) -> Any:
    """Names and titles are somebody's text, too."""
    if isinstance(value, str):
        return normalised(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {_clean(key): _clean(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(inner) for inner in value]
    return value
