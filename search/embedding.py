"""From text to vector: batches of waiting entries, claimed under a lease, sent to the embedder, stored where they fit.

The embedder is asked outside any transaction. What it made is stored only where the entry still says what was sent.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from django.db import connection, transaction

from config.columns import clock
from config.crash import crash_point
from search import embedders, spaces
from search.embedders import Embedder, EmbedderError
from search.models import Space, Status

log = structlog.get_logger(__name__)

LEASE = 120  # seconds; above any call of an embedder
PAUSES = (1.0, 2.0, 5.0, 15.0, 30.0, 60.0)  # seconds after the first, second, ... failure in a row; the last repeats
LONGEST_PAUSE = 3600.0  # whatever an endpoint asks for

CLAIM = """
UPDATE search_unembedded SET attempts = attempts + 1, due_at = clock_timestamp() + %(lease)s * interval '1 second',
    updated_at = clock_timestamp()
WHERE entry_id IN (
    SELECT entry_id FROM search_unembedded WHERE space = %(space)s AND state = 'waiting' AND due_at <= clock_timestamp()
    ORDER BY due_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
RETURNING entry_id
"""
# The same text may have got its vector since.
TWINS = """
UPDATE search_index entry SET embedding = twin.embedding, updated_at = clock_timestamp()
FROM search_index mine CROSS JOIN LATERAL (
    SELECT embedding FROM search_index other
    WHERE other.space = mine.space AND other.content_hash = mine.content_hash AND other.embedding IS NOT NULL LIMIT 1
) twin
WHERE entry.id = mine.id AND mine.id = ANY(%s) AND mine.embedding IS NULL
"""
BARE = "SELECT id, content FROM search_index WHERE id = ANY(%s) AND embedding IS NULL ORDER BY id"
STORE = """
UPDATE search_index entry SET embedding = made.embedding::vector, updated_at = clock_timestamp()
FROM unnest(%(ids)s::uuid[], %(texts)s::text[], %(vectors)s::text[]) AS made (id, content, embedding)
WHERE entry.id = made.id AND entry.content = made.content
"""
SETTLE = """
DELETE FROM search_unembedded waiting USING search_index entry
WHERE waiting.entry_id = entry.id AND entry.id = ANY(%s) AND entry.embedding IS NOT NULL
"""
# Every vector finds its place in the graph of its index, which for many dimensions takes longer than a request may.
PATIENT = "SET LOCAL statement_timeout = '60s'"
STORED_AT_ONCE = 16  # vectors of one transaction
REFUSE = """
UPDATE search_unembedded SET state = 'failed', error = %s, updated_at = clock_timestamp()
WHERE entry_id = %s AND EXISTS (SELECT FROM search_index WHERE id = entry_id AND content = %s)
"""
RETURN = """
UPDATE search_unembedded SET due_at = clock_timestamp(), updated_at = clock_timestamp()
WHERE entry_id = ANY(%s) AND state = 'waiting'
"""


@dataclass(frozen=True, slots=True)
class Embedded:
    """What became of a batch."""

    claimed: int = 0
    made: int = 0
    refused: int = 0
    paused: float = 0.0  # seconds the embedder wants to be left alone


def due(space: Space) -> bool:
    """Does anything of this space wait for a vector that could be made now?"""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM search_unembedded WHERE space = %s AND state = 'waiting'"
            " AND due_at <= clock_timestamp())"
            " AND NOT EXISTS (SELECT FROM search_spaces WHERE id = %s AND paused_until > clock_timestamp())",
            [space.pk, space.pk],
        )
        return bool(cursor.fetchone()[0])


def living() -> list[tuple[Space, Embedder]]:
    """The spaces that vectors can be made for, the serving one first."""
    found = Space.objects.exclude(status=Status.RETIRED).filter(dimensions__gt=0).order_by("status")
    pairs = [(space, spaces.embedder_of(space)) for space in found]
    return [(space, embedder) for space, embedder in pairs if embedder is not None]


def work(seconds: float = 45.0) -> int:
    """Embed what waits until nothing does or the time is over; how many vectors were made."""
    until, made = time.monotonic() + seconds, 0
    for space, embedder in living():
        while time.monotonic() < until and due(space):
            batch = embed_batch(space, embedder)
            made += batch.made
            if batch.paused:
                break
    return made


def embed_batch(space: Space, embedder: Embedder) -> Embedded:
    """One call of the embedder for what has waited longest."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(CLAIM, {"space": space.pk, "lease": LEASE, "limit": max(1, embedder.batch)})
        ids = [id_ for (id_,) in cursor.fetchall()]
        if not ids:
            return Embedded()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(PATIENT)
        cursor.execute(TWINS, [ids])
        twins = cursor.rowcount
        cursor.execute(SETTLE, [ids])
        cursor.execute(BARE, [ids])
        entries: list[tuple[UUID, str]] = cursor.fetchall()
    crash_point("search_claimed")
    try:
        made, refused = _embed(space, embedder, entries)
    except EmbedderError as error:
        return Embedded(len(ids), paused=pause(space, error, ids))
    if made:
        _recovered(space)
    return Embedded(len(ids), twins + made, refused)


def _embed(space: Space, embedder: Embedder, entries: Sequence[tuple[UUID, str]]) -> tuple[int, int]:
    """(made, refused); a batch that holds a text the embedder will never take is halved until that one is alone."""
    if not entries:
        return 0, 0
    texts = list(dict.fromkeys(text for _id, text in entries))
    try:
        vectors = embedder.embed(texts)
        embedders.check(vectors, len(texts), space.dimensions)
    except EmbedderError as error:
        if not error.permanent:
            raise
        if len(texts) == 1:
            return 0, _refuse(entries, error)
        half = set(texts[: len(texts) // 2])
        first = _embed(space, embedder, [entry for entry in entries if entry[1] in half])
        second = _embed(space, embedder, [entry for entry in entries if entry[1] not in half])
        return first[0] + second[0], first[1] + second[1]
    made = dict(zip(texts, vectors, strict=True))
    parts = [entries[start : start + STORED_AT_ONCE] for start in range(0, len(entries), STORED_AT_ONCE)]
    return sum(_store(part, made) for part in parts), 0


def _store(entries: Sequence[tuple[UUID, str]], vectors: dict[str, list[float]]) -> int:
    ids = [id_ for id_, _text in entries]
    texts = [text for _id, text in entries]
    values: dict[str, Any] = {"ids": ids, "texts": texts, "vectors": [as_sql(vectors[text]) for text in texts]}
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(PATIENT)
        cursor.execute(STORE, values)
        stored = int(cursor.rowcount)
        cursor.execute(SETTLE, [ids])
        crash_point("search_stored")
    return stored


def as_sql(vector: Sequence[float]) -> str:
    """A vector of length one, as PostgreSQL reads it: what only differs in length is the same to a cosine, and half
    precision holds no large numbers."""
    length = math.sqrt(math.fsum(number * number for number in vector))
    return "[" + ",".join(f"{number / length:.7g}" for number in vector) + "]"


def _refuse(entries: Sequence[tuple[UUID, str]], error: EmbedderError) -> int:
    with transaction.atomic(), connection.cursor() as cursor:
        for id_, text in entries:
            cursor.execute(REFUSE, [str(error)[:500], id_, text])
    log.warning("a text has no vector", entries=[str(id_) for id_, _text in entries], reason=str(error)[:200])
    return len(entries)


def pause(space: Space, error: EmbedderError, ids: Sequence[UUID] = ()) -> float:
    """Leave the embedder alone for a while, and give the claimed entries back; the seconds."""
    space.refresh_from_db(fields=["failures"])
    seconds = error.retry_after if error.retry_after else PAUSES[min(space.failures, len(PAUSES) - 1)]
    seconds = min(max(seconds, 0.1), LONGEST_PAUSE)
    log.warning("the embedder has no vectors", space=space.pk, reason=str(error)[:200], again_in=seconds)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(RETURN, [list(ids)])
        cursor.execute(
            "UPDATE search_spaces SET failures = failures + 1, error = %s, error_at = clock_timestamp(),"
            " paused_until = clock_timestamp() + %s * interval '1 second', updated_at = clock_timestamp()"
            " WHERE id = %s",
            [str(error)[:500], seconds, space.pk],
        )
    return seconds


def _recovered(space: Space) -> None:
    Space.objects.filter(pk=space.pk, failures__gt=0).update(
        failures=0, error="", paused_until=None, updated_at=clock()
    )


def try_again(space: Space) -> int:
    """Let the embedder see the refused texts of a space once more, and end its pause."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE search_spaces SET paused_until = NULL WHERE id = %s", [space.pk])
        cursor.execute(
            "UPDATE search_unembedded SET state = 'waiting', attempts = 0, error = '', due_at = clock_timestamp(),"
            " updated_at = clock_timestamp() WHERE space = %s AND state = 'failed'",
            [space.pk],
        )
        return int(cursor.rowcount)
