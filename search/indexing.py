"""From a changed row to its entries: searchable by word in one short transaction, by meaning when the embedder is done.

    changed row -> search_pending (trigger) -> search_index, without a vector -> search_unembedded -> vector

A claim counts the attempt and leases the rows, and is committed before the work; writing the entries and deleting the
wake-ups is one transaction. Rows of an attempt that failed, or killed its worker, are tried again one at a time.
"""

from __future__ import annotations

import json
import math
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction
from psycopg import sql

from config.crash import crash_point
from search import spaces
from search.chunks import chunks, normalised
from search.declarations import Searchable, declared

log = structlog.get_logger(__name__)

BATCH = 200  # rows of one transaction
SLICE = 20  # rows read and written together
BUSY = 0.8  # seconds after which a batch ends with the slice it is at

ATTEMPTS = 3  # after which a row that breaks its indexing is left aside, where staff see it
LEASE = 15  # seconds; a tick is killed before that
DIED = "The worker was killed, or ran out of time, while it indexed this row."  # unless it lives to say more

TRIED = "attempts BETWEEN 1 AND %(attempts)s - 1"
FRESH = "attempts = 0"
# Materialised: a plain sub-query may be run once for each row that is looked at, and then claims more than the limit.
CLAIM = """
WITH chosen AS MATERIALIZED (
    SELECT id FROM search_pending
    WHERE {which} AND (leased_until IS NULL OR leased_until <= clock_timestamp())
    ORDER BY id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
UPDATE search_pending SET attempts = attempts + 1, error = %(error)s,
    leased_until = clock_timestamp() + %(lease)s * interval '1 second'
FROM chosen WHERE search_pending.id = chosen.id
RETURNING search_pending.id
"""
# Whoever was overtaken finds its rows locked or gone.
TAKE = "SELECT id, entity_type, entity_id FROM search_pending WHERE id = ANY(%s) FOR UPDATE SKIP LOCKED"
DONE = "DELETE FROM search_pending WHERE id = ANY(%s)"
GIVE_BACK = """
UPDATE search_pending SET attempts = attempts - 1, error = '', leased_until = NULL
WHERE id = ANY(%s) AND attempts > 0
"""
BLAME = "UPDATE search_pending SET error = %s, leased_until = NULL WHERE id = ANY(%s)"
TOO_SLOW = "57014"  # SQLSTATE of a statement that ran into its timeout
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
    """Bring the entries of the oldest wake-ups up to date: one that failed before alone, else a batch of fresh ones."""
    claimed = _claim(TRIED, 1) or _claim(FRESH, limit)
    if not claimed:
        return NOTHING
    try:
        return _index(claimed)
    except (OperationalError, InterfaceError) as error:
        with suppress(DatabaseError, InterfaceError):
            _failed(claimed, error, guilty=getattr(error.__cause__, "sqlstate", None) == TOO_SLOW)
        raise
    except Exception as error:  # of somebody's declaration, or a row the database refuses
        log.exception("rows could not be indexed", rows=len(claimed))
        _failed(claimed, error, guilty=True)
        return Written(len(claimed), 0, 0)


def _claim(which: str, limit: int) -> list[int]:
    values: dict[str, Any] = {"attempts": ATTEMPTS, "error": DIED, "lease": LEASE, "limit": limit}
    with connection.cursor() as cursor:
        cursor.execute(CLAIM.format(which=which), values)
        return [id_ for (id_,) in cursor.fetchall()]


def _failed(claimed: Sequence[int], error: Exception, *, guilty: bool) -> None:
    """The attempt counts, unless the database was away or a lock was not to be had."""
    with connection.cursor() as cursor:
        if guilty:
            cursor.execute(BLAME, [f"{type(error).__name__}: {error}"[:500], list(claimed)])
        else:
            cursor.execute(GIVE_BACK, [list(claimed)])


def _index(claimed: Sequence[int]) -> Written:
    until = time.monotonic() + BUSY
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(TAKE, [list(claimed)])
        taken = cursor.fetchall()
        spaces.hold()
        crash_point("search_taken")
        indexed: list[int] = []
        changed = gone = 0
        for entity_type, rows in _slices(taken):
            if indexed and time.monotonic() > until:
                break
            written, removed = bring_up_to_date(entity_type, sorted(set(rows.values())))
            changed, gone = changed + written, gone + removed
            indexed += rows
        cursor.execute(DONE, [indexed])
        cursor.execute(GIVE_BACK, [[id_ for id_, *_ in taken if id_ not in set(indexed)]])
    return Written(len(claimed), changed, gone)


def _slices(taken: Sequence[tuple[int, str, UUID]]) -> Iterator[tuple[str, dict[int, UUID]]]:
    """Some wake-ups of one type at a time, by the ids of their rows: everybody locks rows in this order."""
    by_type: dict[str, dict[UUID, list[int]]] = defaultdict(lambda: defaultdict(list))
    for id_, entity_type, entity_id in taken:
        by_type[entity_type][entity_id].append(id_)
    for entity_type, wakeups in sorted(by_type.items()):
        for start in range(0, len(wakeups), SLICE):
            some = sorted(wakeups)[start : start + SLICE]
            yield entity_type, {id_: entity_id for entity_id in some for id_ in wakeups[entity_id]}


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
        given = json.dumps(rows, default=str)  # times with all their microseconds
        cursor.execute(WRITE, {"type": entity_type, "rows": given})
        return int(cursor.fetchone()[0])


def _clean(value: Any) -> Any:
    """What JSON holds: names and titles are somebody's text, too; ids and times become text."""
    if isinstance(value, str):
        return normalised(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {_clean(key): _clean(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(inner) for inner in value]
    return value if value is None or isinstance(value, bool | int | float) else normalised(str(value))
