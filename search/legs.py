"""The two searches that are fused: vectors by nearness, words by full text; each a ranked list of chunks (ADR 0103).

Only an id, what it belongs to and a number come back: texts are read for the final hits alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import connection
from psycopg import sql

from search.filters import Where
from search.models import Space
from search.words import Question

EXACT = 5_000  # candidates compared one by one; above, the index is walked until enough of them have passed the filter
EF_SEARCH = 120  # how many nearest the walk keeps; recall for time
MAX_SCAN = 40_000  # tuples a filtered walk looks at before it gives up
FREQUENT = 2_000  # entries with a word, from which on it says little; also the most that are ranked
RARE = 300  # entries of loose matches that are looked at closely


@dataclass(frozen=True, slots=True)
class Found:
    """One chunk in a ranked list. `share` is the part of what was asked that it has, by weight."""

    id: UUID
    entity: tuple[str, UUID]
    chunk: int
    value: float  # distance or rank
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Scope:
    """Which entries are searched: a space, the filters, and what the question demands or forbids."""

    space: Space
    where: Where
    question: Question = field(default_factory=Question)

    @property
    def sql(self) -> str:
        parts = [f"space = {int(self.space.pk)}", self.where.sql]  # a literal: the planner has to see whose index it is
        if self.question.required:
            parts.append("tsv @@ %(required)s::tsquery")
        if self.question.excluded:
            parts.append("NOT tsv @@ %(excluded)s::tsquery")
        return " AND ".join(parts)

    @property
    def values(self) -> dict[str, Any]:
        return {**self.where.values, "required": self.question.required, "excluded": self.question.excluded}

    @property
    def narrow(self) -> bool:
        return self.where.narrow or bool(self.question.required)


SETTINGS = """
SELECT set_config('hnsw.iterative_scan', 'relaxed_order', true), set_config('hnsw.ef_search', %s, true),
    set_config('hnsw.max_scan_tuples', %s, true), set_config('statement_timeout', %s, true),
    CASE WHEN current_user = 'parley_client' THEN coalesce(nullif(current_setting('parley.user_id', true), ''), '0') END
"""


def prepare(milliseconds: int) -> int | None:
    """Settings for this transaction; tells the user this connection acts as, None where it is ourselves."""
    with connection.cursor() as cursor:
        cursor.execute(SETTINGS, [str(EF_SEARCH), str(MAX_SCAN), str(milliseconds)])
        acting = cursor.fetchone()[-1]
    return None if acting is None else int(acting)


def few(scope: Scope) -> bool:
    """Are the candidates so few that comparing each is cheaper, and certain?"""
    if not scope.narrow and scope.space.embedded > 2 * EXACT:
        return False
    query = f"SELECT count(*) FROM (SELECT FROM search_index WHERE {scope.sql} LIMIT {EXACT + 1}) AS seen"
    with connection.cursor() as cursor:
        cursor.execute(query, scope.values)
        return bool(cursor.fetchone()[0] <= EXACT)


def candidates(scope: Scope) -> int:
    """How many vectors an exact scan compares."""
    query = f"SELECT count(*) FROM search_index WHERE {scope.sql} AND embedding IS NOT NULL"
    with connection.cursor() as cursor:
        cursor.execute(query, scope.values)
        return int(cursor.fetchone()[0])


def walk(scope: Scope, vector: str, depth: int) -> list[Found]:
    """The nearest by the index of vectors, however few the candidates."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('enable_sort', 'off', true)")
        found = _vectors(nearest(scope, exact=False), scope, vector, depth)
        cursor.execute("SELECT set_config('enable_sort', 'on', true)")
    return found


def compare(scope: Scope, vector: str, depth: int) -> list[Found]:
    """The nearest by comparing each candidate."""
    return _vectors(nearest(scope, exact=True), scope, vector, depth)


def by_vector(scope: Scope, vector: str, depth: int, *, exact: bool) -> list[Found]:
    """The nearest chunks. Where a filtered walk comes home with too little, each candidate is compared after all."""
    if exact:
        return compare(scope, vector, depth)
    found = _vectors(nearest(scope, exact=False), scope, vector, depth)
    return found if len(found) == depth else compare(scope, vector, depth)


def nearest(scope: Scope, *, exact: bool) -> str:
    """OFFSET 0 keeps the planner from taking the index; otherwise the walk's order is relaxed and sorted again."""
    type_ = scope.space.vector_type
    distance = f"embedding::{type_} <=> %(vector)s::{type_}"
    inner = (
        f"SELECT id, entity_type, entity_id, chunk, {distance} AS distance FROM search_index"
        f" WHERE {scope.sql} AND embedding IS NOT NULL"
    )
    inner += " OFFSET 0" if exact else f" ORDER BY {distance} LIMIT %(depth)s"
    return f"SELECT * FROM ({inner}) AS near ORDER BY distance, id LIMIT %(depth)s"


def _vectors(query: str, scope: Scope, vector: str, depth: int) -> list[Found]:
    with connection.cursor() as cursor:
        cursor.execute(query, {**scope.values, "vector": vector, "depth": depth})
        return [Found(id_, (type_, of), chunk, distance) for id_, type_, of, chunk, distance in cursor.fetchall()]


def by_words(scope: Scope, depth: int) -> list[Found]:
    """Chunks with all the words first; where they are too few, those with some, the telling words counting most."""
    if not scope.question.strict:
        return []
    found = _strict(scope, depth)
    if len(found) < depth and len(scope.question.terms) > 1:
        have = {one.id for one in found}
        found += [one for one in _loose(scope, depth) if one.id not in have]
    return found[:depth]


# The newest of those that match are ranked: how many match a frequent word must not matter.
STRICT = """
SELECT id, entity_type, entity_id, chunk, ts_rank_cd(tsv, %(strict)s::tsquery, 1) AS rank FROM (
    SELECT id, entity_type, entity_id, chunk, tsv, at FROM search_index
    WHERE {scope} AND tsv @@ %(strict)s::tsquery ORDER BY at DESC LIMIT %(most)s
) AS matching ORDER BY rank DESC, at DESC, id DESC LIMIT %(depth)s
"""


def _strict(scope: Scope, depth: int) -> list[Found]:
    values = {**scope.values, "strict": scope.question.strict, "most": FREQUENT, "depth": depth}
    with connection.cursor() as cursor:
        cursor.execute(STRICT.format(scope=scope.sql), values)
        return [Found(id_, (type_, of), chunk, rank) for id_, type_, of, chunk, rank in cursor.fetchall()]


# How rare each word is in the space, counted up to a limit.
RARITY = """
SELECT (SELECT count(*) FROM (
    SELECT FROM search_index WHERE space = {space} AND tsv @@ term::tsquery LIMIT {most}) AS seen)
FROM unnest(%(terms)s::text[]) WITH ORDINALITY AS t (term, n) ORDER BY n
"""
# Entries with the rarest words first, each word by itself; then all words are looked up in those few.
LOOSE = """
WITH likely AS (
    SELECT id, sum(weight) AS weight FROM ({branches}) AS branch GROUP BY id ORDER BY weight DESC, id DESC LIMIT {rare}
)
SELECT id, entity_type, entity_id, chunk,
    (SELECT sum(weight) FROM unnest(%(terms)s::tsquery[], %(weights)s::float8[]) AS t (term, weight) WHERE tsv @@ term)
    / (1 + ln(1 + length(tsv)) / 8) AS rank,
    (SELECT sum(weight) FROM unnest(%(terms)s::tsquery[], %(weights)s::float8[]) AS t (term, weight) WHERE tsv @@ term)
    AS had
FROM likely JOIN search_index USING (id) ORDER BY rank DESC, id DESC LIMIT %(depth)s
"""
BRANCH = """
(SELECT id, {weight}::float8 AS weight FROM search_index WHERE {scope} AND tsv @@ {term}::tsquery
 ORDER BY at DESC LIMIT {most})
"""


def _loose(scope: Scope, depth: int) -> list[Found]:
    weights = _weights(scope)
    if not weights:
        return []
    telling = sorted(weights, key=lambda term: -weights[term])
    rare = [term for term in telling if weights[term] >= _weight(FREQUENT, scope.space.entries)] or telling[:1]
    branches = " UNION ALL ".join(
        BRANCH.format(weight=float(weights[term]), scope=scope.sql, term=_quoted(term), most=FREQUENT) for term in rare
    )
    values = {**scope.values, "terms": list(weights), "weights": list(weights.values()), "depth": depth}
    with connection.cursor() as cursor:
        cursor.execute(LOOSE.format(branches=branches, rare=RARE), values)
        rows = cursor.fetchall()
    whole = sum(weights.values())
    return [Found(id_, (type_, of), chunk, rank, (had or 0) / whole) for id_, type_, of, chunk, rank, had in rows]


def _weights(scope: Scope) -> dict[str, float]:
    """What each word of the question is worth: nothing where no entry has it."""
    query = RARITY.format(space=int(scope.space.pk), most=FREQUENT)
    with connection.cursor() as cursor:
        cursor.execute(query, {"terms": list(scope.question.terms)})
        counts = [count for (count,) in cursor.fetchall()]
    total = max(scope.space.entries, *counts, 1)
    return {term: _weight(count, total) for term, count in zip(scope.question.terms, counts, strict=True) if count}


def _weight(count: int, total: int) -> float:
    """Inverse document frequency as in BM25."""
    return math.log(1 + (total - min(count, total) + 0.5) / (min(count, total) + 0.5))


def _quoted(term: str) -> str:
    """A tsquery of PostgreSQL's own writing, as a literal; doubled for the driver's placeholders."""
    return sql.Literal(term).as_string().replace("%", "%%")
