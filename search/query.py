"""The one search function: by meaning and by word, fused by rank, under filters that never starve the result.

    found = search("relocation stress", user_id=7, entity_types=["message"], filters={"role": "user"})
    for hit in found.hits: hit.score, hit.ranks, hit.snippet

Filters, all optional: `agent` (id; the default agent's finds conversations without one, too), `role`, `session_id`,
`after` and `before` (date or datetime; before is exclusive), `deleted` ("without", the default; "with"; "only"),
`metadata` ({key: scalar}). Any other name, an unknown mode, or a value of a wrong type raises SearchError with `field`.
Runs with the rights of the transaction of the caller.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar
from uuid import UUID

import structlog
from django.db import DatabaseError, connection, transaction

from search import coverage, embedders, highlight, legs, spaces, words
from search.embedders import EmbedderError
from search.embedding import as_sql
from search.errors import SearchError
from search.filters import UNSTORABLE, Where, where
from search.fusion import Ranked, fused
from search.legs import Found, Scope
from search.models import Space, Status
from search.results import Coverage, ExactCheck, Hit, Results, Segment

__all__ = ["DEGRADED", "MODES", "Coverage", "ExactCheck", "Hit", "Results", "SearchError", "Segment"]
__all__ += ["exact_check", "more_like", "search"]

log = structlog.get_logger(__name__)

MODES = ("hybrid", "vector", "keyword")
DEGRADED = {
    "embeddings_off": "No embedder is configured: by word only.",
    "embeddings_down": "The embedder did not answer: by word only.",
    "no_space": "Nothing was embedded yet: by word only.",
    "building": "A new model's vectors are being made; the former ones answer.",
    "other_model": "The former model serves and cannot be asked any more: by word only.",
    "incomplete": "Some entries have no vector yet: they are found by word only.",
    "no_index": "The index of the vectors is being built: they are compared one by one.",
    "unread": "The embedder does not read this language: words lead.",
    "timeout": "One of the two searches took too long and was given up.",
}

LONGEST = 2_000  # characters of a question
MOST = 100  # hits
DEPTH = 30  # chunks each search brings at least
PATIENCE = 3_000  # ms one of the two searches may take

SAME = 1e-6  # distance: of several that are equally near, any is as good
CANCELLED = "57014"  # SQLSTATE of a statement that ran into its timeout

Filters = Mapping[str, Any]
Answer = TypeVar("Answer")


def search(  # noqa: PLR0913  keyword-only, one per thing a person can choose
    text: str,
    *,
    user_id: int | None = None,
    entity_types: Sequence[str] | None = None,
    filters: Filters | None = None,
    mode: str = "hybrid",
    limit: int = 10,
) -> Results:
    """Find what was meant. `user_id` narrows to that person's rows; None is everybody's."""
    run = _Run(mode)
    _check(text, mode, limit)
    narrowed = where(user_id, entity_types, filters)
    asked = words.parse(text)
    space = run.space
    if space is None or not asked.meaning:
        return run.results([])
    vector = run.embed(asked.meaning) if mode != "keyword" else None
    by_word = mode != "vector" or vector is None
    with run.reading(space) as acting:
        question = words.Question()
        if by_word or asked.phrases or asked.without:
            question = run.timed("words", lambda: words.translate(asked))
        scope = Scope(space, _as_acting(narrowed, acting), question)
        depth = max(DEPTH, 3 * limit) if by_word else 2 * limit
        both = by_word and vector is not None
        lists = {"vector": run.nearest(scope, vector, depth, alone=not both) if vector else []}
        lists["keyword"] = (
            run.leg("keyword", lambda: legs.by_words(scope, depth, limit), alone=not both) if by_word else []
        )
        best = fused(lists, read=run.read)[:limit]
        hits = run.timed("load", lambda: _load(best, space, vector, question.lexemes or asked.words))
    return run.results(hits, question)


def more_like(  # noqa: PLR0913  as above
    entity_type: str,
    entity_id: UUID,
    *,
    user_id: int | None = None,
    entity_types: Sequence[str] | None = None,
    filters: Filters | None = None,
    limit: int = 10,
) -> Results:
    """What lies nearest to an entry by meaning, itself left out."""
    run = _Run("vector")
    _check("", "vector", limit)
    narrowed = where(user_id, entity_types, filters)
    space = run.space
    if space is None or not space.dimensions:
        run.note("no_space")
        return run.results([])
    with run.reading(space) as acting:
        vector = _vector_of(space, entity_type, entity_id)
        if vector is None:
            run.note("incomplete")
            return run.results([])
        scope = Scope(space, _as_acting(narrowed, acting))
        near = run.nearest(scope, vector, max(DEPTH, 3 * limit), alone=True)
        others = [found for found in near if found.entity != (entity_type, entity_id)]
        hits = _load(fused({"vector": others, "keyword": []})[:limit], space, vector, ())
    return run.results(hits)


def exact_check(
    text: str,
    *,
    user_id: int | None = None,
    entity_types: Sequence[str] | None = None,
    filters: Filters | None = None,
    limit: int = 10,
) -> ExactCheck:
    """How much of an exact scan the index of vectors finds for this query; SearchError where there is no vector."""
    run = _Run("vector")
    _check(text, "vector", limit)
    narrowed = where(user_id, entity_types, filters)
    asked = words.parse(text)
    vector = run.embed(asked.meaning) if run.space is not None and asked.meaning else None
    if vector is None or run.space is None:
        raise SearchError("There is no vector to compare with.", field="text")
    with run.reading(run.space) as acting:
        scope = Scope(run.space, _as_acting(narrowed, acting), words.translate(asked))
        few = legs.few(scope)
        indexed = run.timed("index", lambda: legs.walk(scope, vector, limit))
        exact = run.timed("exact", lambda: legs.compare(scope, vector, limit))
        candidates = legs.candidates(scope)
    farthest = exact[-1].value + SAME if exact else 0.0
    return ExactCheck(
        recall=sum(found.value <= farthest for found in indexed) / len(exact) if exact else 1.0,
        indexed=[(*found.entity, found.chunk) for found in indexed],
        exact=[(*found.entity, found.chunk) for found in exact],
        index_ms=run.timings["index"],
        exact_ms=run.timings["exact"],
        scan="exact" if few else "index",
        candidates=candidates,
    )


def _check(text: str, mode: str, limit: int) -> None:
    if mode not in MODES:
        raise SearchError(f"One of {', '.join(MODES)}.", field="mode")
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MOST:
        raise SearchError(f"From 1 to {MOST}.", field="limit")
    if not isinstance(text, str) or len(text) > LONGEST:
        raise SearchError(f"A text of at most {LONGEST} characters is wanted.", field="text")
    if UNSTORABLE.search(text):
        raise SearchError("U+0000 and half surrogate pairs cannot be looked for.", field="text")


def _as_acting(narrowed: Where, user_id: int | None) -> Where:
    """Row-level security decides; saying the same in the query lets the planner use the index of users."""
    if user_id is None:
        return narrowed
    conditions = (*narrowed.conditions, "user_id = %(acting)s")
    return Where(conditions, {**narrowed.values, "acting": user_id}, narrow=True)


LOAD = """
SELECT id, content, metadata::text, user_id, deleted, at, {similarity} FROM search_index WHERE id = ANY(%(ids)s)
"""


def _load(ranked: Sequence[Ranked], space: Space, vector: str | None, lexemes: Sequence[str]) -> list[Hit]:
    """Read the final hits, and find their telling parts."""
    if not ranked:
        return []
    type_ = space.vector_type
    similarity = f"1 - (embedding::{type_} <=> %(vector)s::{type_})" if vector else "NULL"
    with connection.cursor() as cursor:
        cursor.execute(
            LOAD.format(similarity=similarity), {"ids": [found.id for found, *_ in ranked], "vector": vector}
        )
        rows = {id_: rest for id_, *rest in cursor.fetchall()}
    there = [(found, score, ranks, rows[found.id]) for found, score, ranks in ranked if found.id in rows]
    by_word = any(ranks["keyword"] for _found, _score, ranks, _row in there)
    mark = highlight.snippets if by_word else highlight.plainly
    snippets = mark([content for *_, (content, *_rest) in there], lexemes)
    return [
        Hit(
            *found.entity, found.chunk, content, snippet, score, ranks, similarity, user_id, json.loads(metadata),
            deleted, at,
        )
        for (found, score, ranks, row), snippet in zip(there, snippets, strict=True)
        for content, metadata, user_id, deleted, at, similarity in [row]
    ]  # fmt: skip


def _vector_of(space: Space, entity_type: str, entity_id: UUID) -> str | None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT embedding::text FROM search_index WHERE entity_type = %s AND entity_id = %s AND space = %s"
            " AND embedding IS NOT NULL ORDER BY chunk LIMIT 1",
            [entity_type, entity_id, space.pk],
        )
        row = cursor.fetchone()
    return row[0] if row else None


class _Run:
    """One search on its way: which space serves it, what it cost, and what it had to do without."""

    def __init__(self, mode: str) -> None:
        self.mode, self.started = mode, time.perf_counter()
        self.timings: dict[str, float] = {}
        self.degraded: list[str] = []
        self.scan = ""
        living = list(Space.objects.exclude(status=Status.RETIRED))
        self.space = next((space for space in living if space.status == Status.ACTIVE), None)
        self.switching = len(living) > 1
        self.indexed = False
        self.read = True

    def note(self, what: str) -> None:
        if what not in self.degraded:
            self.degraded.append(what)

    def timed(self, name: str, work: Callable[[], Answer]) -> Answer:
        started = time.perf_counter()
        try:
            return work()
        finally:
            self.timings[name] = 1000 * (time.perf_counter() - started)

    def embed(self, meaning: str) -> str | None:
        """The vector of what is asked, or a note why there is none."""
        if self.space is None:
            return None
        embedder = spaces.embedder_of(self.space)
        if embedder is None:
            switched_off = spaces.embedder_now() is None
            self.note("embeddings_off" if switched_off else "other_model" if self.space.dimensions else "no_space")
            return None
        try:
            [vector] = self.timed("embed", lambda: embedder.embed([meaning], query=True))
            embedders.check([vector], 1, self.space.dimensions)
        except (EmbedderError, ValueError) as error:
            log.warning("a query has no vector", reason=str(error)[:200])
            self.note("embeddings_down")
            return None
        self.read = embedders.reads(embedder, meaning)
        if not self.read:
            self.note("unread")
        return as_sql(vector)

    @contextmanager
    def reading(self, space: Space) -> Iterator[int | None]:
        """A transaction that is rolled back, so that its settings end with it even inside another one."""
        with transaction.atomic():
            acting, self.indexed = legs.prepare(space, PATIENCE)
            yield acting
            transaction.set_rollback(True)

    def nearest(self, scope: Scope, vector: str, depth: int, *, alone: bool) -> list[Found]:
        def look() -> list[Found]:
            exact = legs.few(scope)
            if not exact and not self.indexed:
                self.note("no_index")
                exact = True
            self.scan = "exact" if exact else "index"
            return legs.by_vector(scope, vector, depth, exact=exact)

        return self.leg("vector", look, alone=alone)

    def leg(self, name: str, look: Callable[[], list[Found]], *, alone: bool) -> list[Found]:
        """One of the two searches: that it takes too long must not cost the other's hits."""
        try:
            if alone:  # nothing to save from it
                return self.timed(name, look)
            with transaction.atomic():
                return self.timed(name, look)
        except DatabaseError as error:
            if getattr(error.__cause__, "sqlstate", None) != CANCELLED:
                raise
            log.warning("a search took too long", leg=name, ms=PATIENCE)
            self.note("timeout")
            return []

    def results(self, hits: list[Hit], question: words.Question | None = None) -> Results:
        covered = coverage.of(self.space)
        if self.mode != "keyword" and self.scan:
            if covered.pending:
                self.note("incomplete")
            if self.switching:
                self.note("building")
        return Results(
            hits=hits,
            mode=self.mode,
            took_ms=1000 * (time.perf_counter() - self.started),
            timings=self.timings,
            coverage=covered,
            degraded=tuple(self.degraded),
            scan=self.scan,
            space=self.space.model if self.space else "",
            words=question.lexemes if question else (),
        )
