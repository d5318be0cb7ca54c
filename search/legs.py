"""The two searches that are fused: vectors by nearness, words by full text; each a ranked list of chunks (ADR 0103).

Only an id, what it belongs to and a number come back: texts are read for the final hits alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from django.db import connection
from psycopg import sql

from search import rarity
from search.filters import Where
from search.models import Space
from search.words import Question

EF_SEARCH = 120  # how many nearest the walk keeps; recall for time
MAX_SCAN = 40_000  # tuples a filtered walk looks at before it gives up
RANKED = 250  # entries with all the words that are ranked, the newest of them
SURELY = 4  # times as many: the planner's estimate of candidates is trusted not to be wrong by more
LIKELY = 1_000  # entries fetched for having a rare word, and
CLOSELY = 200  # those of them that all words are looked up in
RARE = 600  # entries; a word of more is common
NAME = 10  # entries, as many as a page of results shows; a word of no more is the name or the number of something


@dataclass(frozen=True, slots=True)
class Found:
    """One chunk in a ranked list. `share` is the part of what was asked that it has, by weight; `named` if it has all
    of it, a word among it that hardly any other entry has."""

    id: UUID
    entity: tuple[str, UUID]
    chunk: int
    value: float  # distance or rank
    share: float = 1.0
    named: bool = False


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
    CASE WHEN current_user = 'parley_client'
        THEN coalesce(nullif(current_setting('parley.user_id', true), ''), '0') END,
    EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass(%s) AND indisvalid)
"""


def prepare(space: Space, milliseconds: int) -> tuple[int | None, bool]:
    """Settings of this transaction; tells whom this connection acts as, if anybody, and if there is an index."""
    with connection.cursor() as cursor:
        cursor.execute(SETTINGS, [str(EF_SEARCH), str(MAX_SCAN), str(milliseconds), space.index_name])
        *_set, acting, indexed = cursor.fetchone()
    return None if acting is None else int(acting), bool(indexed)


def exact_below(space: Space) -> int:
    """Candidates up to which comparing each is cheaper than the walk.

    Comparing n takes n times some 4 us; the walk passes size / n tuples for each hit, at some 30 us.
    """
    return int(min(20_000, max(1_000, (240 * space.embedded) ** 0.5)))


def few(scope: Scope) -> bool:
    """Are the candidates so few that comparing each is cheaper, and certain?"""
    limit = exact_below(scope.space)
    if not scope.narrow and scope.space.embedded > 2 * limit:
        return False
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON) SELECT FROM search_index WHERE {scope.sql}", scope.values)
        expected = _estimate(cursor.fetchone()[0])
        if expected > SURELY * limit:
            return False
        most = limit if expected <= limit else limit // SURELY  # counting costs half of what the walk does
        query = f"SELECT count(*) FROM (SELECT FROM search_index WHERE {scope.sql} LIMIT {most + 1}) AS seen"
        cursor.execute(query, scope.values)
        return bool(cursor.fetchone()[0] <= most)


def _estimate(plan: str | list[dict[str, Any]]) -> int:
    """What the planner expects, in a third of a millisecond; where it is far too high, the walk comes home short and
    each candidate is compared after all."""
    parsed: list[dict[str, Any]] = json.loads(plan) if isinstance(plan, str) else plan
    return int(parsed[0]["Plan"]["Plan Rows"])


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
    # + 0, or the planner takes the relaxed order for a strict one and sorts only among equals.
    return f"SELECT * FROM ({inner}) AS near ORDER BY distance + 0, id LIMIT %(depth)s"


def _vectors(query: str, scope: Scope, vector: str, depth: int) -> list[Found]:
    with connection.cursor() as cursor:
        cursor.execute(query, {**scope.values, "vector": vector, "depth": depth})
        return [Found(id_, (type_, of), chunk, distance) for id_, type_, of, chunk, distance in cursor.fetchall()]


def by_words(scope: Scope, depth: int, enough: int) -> list[Found]:
    """Chunks with all the words first; where they are not enough, those with some, the telling words counting most."""
    if not scope.question.strict:
        return []
    found = _strict(scope, depth)
    if len(found) >= max(enough, NAME + 1):
        return found
    counts = rarity.counts(scope.space, scope.question.terms, RARE)
    if min(counts.values(), default=0) <= NAME:
        found = [replace(one, named=True) for one in found]
    if len(found) < enough and len(scope.question.terms) > 1:
        have = {one.id for one in found}
        found += [one for one in _loose(scope, depth, counts) if one.id not in have]
    return found[:depth]


# The newest of those that match are ranked: how many match a frequent word must not matter.
STRICT = """
SELECT id, entity_type, entity_id, chunk, ts_rank_cd(tsv, %(strict)s::tsquery, 1) AS rank FROM (
    SELECT id, entity_type, entity_id, chunk, tsv, at FROM search_index
    WHERE {scope} AND tsv @@ %(strict)s::tsquery ORDER BY at DESC LIMIT %(most)s
) AS matching ORDER BY rank DESC, at DESC, id DESC LIMIT %(depth)s
"""


def _strict(scope: Scope, depth: int) -> list[Found]:
    values = {**scope.values, "strict": scope.question.strict, "most": RANKED, "depth": depth}
    with connection.cursor() as cursor:
        cursor.execute(STRICT.format(scope=scope.sql), values)
        return [Found(id_, (type_, of), chunk, rank) for id_, type_, of, chunk, rank in cursor.fetchall()]


# Entries with the rarest words, then all words are looked up in the likeliest of those; long texts count a little less.
LOOSE = """
SELECT id, entity_type, entity_id, chunk, had / (1 + ln(1 + length(tsv)) / 8) AS rank, had FROM (
    SELECT search_index.id, entity_type, entity_id, chunk, tsv, {had} AS had FROM (
        SELECT id, sum(weight) AS weight FROM ({branches}) AS branch GROUP BY id
        ORDER BY weight DESC, id DESC LIMIT {closely}
    ) AS likely JOIN search_index USING (id) OFFSET 0
) AS matching ORDER BY rank DESC, id DESC LIMIT %(depth)s
"""
BRANCH = "(SELECT id, {weight} AS weight FROM search_index WHERE {scope} AND tsv @@ {term} LIMIT {likely})"


def _loose(scope: Scope, depth: int, counts: Mapping[str, int]) -> list[Found]:
    weights = {term: _weight(count, scope.space.entries) for term, count in counts.items()}
    branches: list[str] = []
    likely = 0
    for term in sorted(counts, key=lambda term: counts[term]):
        if branches and likely + counts[term] > LIKELY:
            break
        likely += counts[term]
        branches.append(
            BRANCH.format(weight=weights[term], scope=scope.sql, term=_quoted(term), likely=min(LIKELY, 2 * RARE))
        )
    if not branches:
        return []
    had = " + ".join(f"CASE WHEN tsv @@ {_quoted(term)} THEN {weight} ELSE 0 END" for term, weight in weights.items())
    query = LOOSE.format(branches=" UNION ALL ".join(branches), had=had, closely=CLOSELY)
    with connection.cursor() as cursor:
        cursor.execute(query, {**scope.values, "depth": depth})
        rows = cursor.fetchall()
    unheard = len(scope.question.terms) - len(weights)  # words nobody wrote are part of what was asked, too
    whole = sum(weights.values()) + unheard * _weight(0, scope.space.entries)
    return [
        Found(id_, (type_, of), chunk, float(rank), float(had) / whole) for id_, type_, of, chunk, rank, had in rows
    ]


def _weight(count: int, total: int) -> float:
    """Inverse document frequency as in BM25."""
    return math.log(1 + (total - min(count, total) + 0.5) / (min(count, total) + 0.5))


def _quoted(term: str) -> str:
    """A tsquery of PostgreSQL's own writing, as a literal; percents doubled for the driver's placeholders."""
    return sql.Literal(term).as_string().replace("%", "%%") + "::tsquery"
