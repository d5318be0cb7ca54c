"""Search over 100,000 entries of 384 dimensions: time, recall under filters, and what watching costs an append.

Vectors lie in clusters, as those of real texts do; words follow Zipf and Mandelbrot, the commonest stands in every
eighth text, as those do that are no stop words. The embedder is left out: each question brings
its vector. "Deleted" entries are gone from the table and still in the index, as they are until the next VACUUM.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from statistics import quantiles
from typing import Any
from unittest.mock import patch
from uuid import UUID, uuid4

from benchmarks.rounds import Row, medians, row

DIMENSIONS, CLUSTERS, VOCABULARY, TYPES = 384, 300, 20_000, ("message", "note")
OWNERS = {1: 1, 2: 9, 3: 100, 4: 1_000}  # user: rows; everybody else has about a hundred
RANDOM = 20_251_120


class World:
    """Texts, vectors and questions, the same in every run."""

    def __init__(self, size: int) -> None:
        import numpy

        self.random = numpy.random.default_rng(RANDOM)
        self.centres = self._unit(self.random.normal(size=(CLUSTERS, DIMENSIONS)))
        self.words = [f"{'бгдкмст'[n % 7]}ор{n}" if n % 2 else f"{'bdfgklm'[n % 7]}or{n}" for n in range(VOCABULARY)]
        self.vectors = self.near(size)
        ranks = numpy.arange(VOCABULARY) + 31.0
        self.often = ranks**-1.05 / (ranks**-1.05).sum()
        lengths = self.random.integers(5, 40, size)
        drawn = iter(self.random.choice(VOCABULARY, lengths.sum(), p=self.often))
        self.texts = [" ".join(self.words[next(drawn)] for _ in range(length)) for length in lengths]
        owned = [user for user, number in OWNERS.items() for _ in range(number)]
        others = self.random.integers(10, 10 + max(size // 100, 1), size - len(owned))
        self.users = self.random.permutation([*owned, *others])

    def _unit(self, vectors: Any) -> Any:
        import numpy

        return (vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)).astype("float32")

    def near(self, number: int) -> Any:
        """Points around the centres: as far from theirs as sentences about one thing are from each other."""
        chosen = self.centres[self.random.integers(0, CLUSTERS, number)]
        return self._unit(chosen + self.random.normal(scale=0.8 / DIMENSIONS**0.5, size=(number, DIMENSIONS)))

    def questions(self, number: int) -> list[tuple[str, Any]]:
        """Two to four words that somebody wrote, and a vector like those stored."""
        found = []
        for vector in self.near(number):
            words = self.texts[int(self.random.integers(len(self.texts)))].split()
            some = self.random.choice(words, size=min(len(words), int(self.random.integers(2, 5))), replace=False)
            found.append((" ".join(some), vector))
        return found


class Embedder:
    """Knows the vector of each question."""

    name, model, dimensions, batch = "bench", "bench", DIMENSIONS, 32

    def __init__(self) -> None:
        self.known: dict[str, list[float]] = {}

    def embed(self, texts: Any, *, query: bool = False) -> list[list[float]]:  # noqa: ARG002  as the contract has it
        return [self.known[text] for text in texts]


def run(quick: bool = False) -> list[Row]:
    from django.db import connection

    from search import coverage, embedders, spaces, vector_index

    size, asked, rounds = (3_000, 20, 1) if quick else (100_000, 150, 3)
    world, embedder = World(size), Embedder()
    with (
        patch.object(embedders, "current", lambda: embedder),
        patch.object(embedders, "of", lambda *_of: embedder),
    ):
        space = spaces.ensure_current()
        fill(world, space.pk)
        started = time.perf_counter()
        vector_index.build(space)
        built = time.perf_counter() - started
        with connection.cursor() as cursor:
            cursor.execute("VACUUM (ANALYZE) search_index")
        coverage.recount(space)
        questions = world.questions(asked)
        embedder.known = {text: vector.tolist() for text, vector in questions}
        rows = [row("index of vectors built", built, "s")]
        rows += speed(questions, rounds)
        rows += recalls("", questions)
        rows += filtered(questions)
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE search_index SET (autovacuum_enabled = false)")
            cursor.execute("DELETE FROM search_index WHERE id IN (SELECT id FROM search_index ORDER BY md5(id::text)"
                           " LIMIT %s)", [size * 9 // 10])  # fmt: skip
            cursor.execute("ANALYZE search_index")
        coverage.recount(space)
        rows += recalls(", 90 % deleted", questions)
        with connection.cursor() as cursor:
            cursor.execute("TRUNCATE search_index CASCADE")
    return rows + watched(quick)


def fill(world: World, space: int) -> None:
    from django.db import connection
    from pgvector.psycopg import register_vector

    connection.ensure_connection()
    db = connection.connection
    register_vector(db)
    columns = "entity_type, entity_id, space, content, embedding, metadata, user_id"
    with db.cursor().copy(f"COPY search_index ({columns}) FROM STDIN WITH (FORMAT BINARY)") as copy:
        copy.set_types(["varchar", "uuid", "int4", "text", "vector", "jsonb", "int8"])
        for number, text in enumerate(world.texts):
            role = json.dumps({"role": ["user", "assistant", "system", "user"][number % 4], "five": number % 20 == 0})
            vector, user = world.vectors[number], int(world.users[number])
            copy.write_row((TYPES[number % 10 == 0], uuid4(), space, text, vector, Raw(role), user))


def Raw(text: str) -> Any:  # noqa: N802  stands where a class would
    from psycopg.types.json import Jsonb

    return Jsonb(json.loads(text))


def speed(questions: list[tuple[str, Any]], rounds: int) -> list[Row]:
    from search.query import search

    def ours(mode: str, **options: Any) -> Callable[[], float]:
        return lambda: p95([lambda text=text: search(text, mode=mode, **options) for text, _vector in questions])

    def raw() -> float:
        return p95([lambda vector=vector: nearest(vector) for _text, vector in questions])

    found = medians(
        {
            "hybrid": ours("hybrid"),
            "vector": ours("vector"),
            "keyword": ours("keyword"),
            "raw": raw,
            "user": ours("hybrid", user_id=4),
            "role": ours("hybrid", filters={"role": "assistant"}),
            "five": ours("hybrid", filters={"metadata": {"five": True}}),
        },
        rounds,
    )
    return [
        row("hybrid, p95", found["hybrid"], "ms", "<= 30"),
        row("hybrid of a user with 1,000 rows, p95", found["user"], "ms", "<= 30"),
        row("hybrid of one role (25 %), p95", found["role"], "ms", "<= 30"),
        row("hybrid of 5 % by metadata, p95", found["five"], "ms", "<= 30"),
        row("by word alone, p95", found["keyword"], "ms"),
        row("by meaning alone, p95", found["vector"], "ms"),
        row("the nearest ten in raw SQL, p95", found["raw"], "ms"),
        row("by meaning alone, p95", found["vector"] / found["raw"], "x", "<= 1.5", "the same in raw SQL"),
    ]


def p95(calls: list[Callable[[], Any]]) -> float:
    took = []
    for call in calls:
        started = time.perf_counter()
        call()
        took.append(1000 * (time.perf_counter() - started))
    return quantiles(took, n=20)[-1]


# What seed programs write by hand: the same index, the same depth of search, the same columns.
NEAREST = """
SELECT id, entity_type, entity_id, chunk, content, metadata, user_id, deleted, at,
    embedding::vector(384) <=> %(vector)s::vector(384) AS distance
FROM search_index WHERE space = 1 AND NOT deleted
ORDER BY embedding::vector(384) <=> %(vector)s::vector(384) LIMIT 10
"""


def nearest(vector: Any) -> list[Any]:
    from django.db import connection, transaction

    from search.legs import EF_SEARCH

    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL hnsw.ef_search = {EF_SEARCH}; SET LOCAL hnsw.iterative_scan = relaxed_order")
        cursor.execute(NEAREST, {"vector": json.dumps(vector.tolist())})
        return list(cursor.fetchall())


def exactly(vector: Any, condition: str, values: list[Any]) -> set[UUID]:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT entity_id FROM (SELECT entity_id, embedding::vector(384) <=> %s::vector(384) AS distance"
            f" FROM search_index WHERE {condition} OFFSET 0) AS all_of_them ORDER BY distance LIMIT 10",
            [json.dumps(vector.tolist()), *values],
        )
        return {id_ for (id_,) in cursor.fetchall()}


def recall(questions: list[tuple[str, Any]], condition: str, values: list[Any], **options: Any) -> tuple[float, int]:
    """Mean recall@10 beside an exact scan, and the fewest hits beyond or below what there is to find."""
    from search.query import search

    shares, short = [], 0
    for text, vector in questions:
        wanted = exactly(vector, condition, values)
        hits = {hit.entity_id for hit in search(text, mode="vector", limit=10, **options).hits}
        shares.append(len(wanted & hits) / len(wanted) if wanted else 1.0)
        short += len(wanted) - len(hits)
    return sum(shares) / len(shares), short


def recalls(when: str, questions: list[tuple[str, Any]]) -> list[Row]:
    rows = []
    some = questions[:60]
    for name, condition, values, options, reach in [
        ("everybody", "true", [], {}, ">= 0.95"),
        *(
            (f"a user who owned {number}", "user_id = %s", [user], {"user_id": user}, ">= 0.99")
            for user, number in OWNERS.items()
        ),
    ]:
        share, short = recall(some, condition, values, **options)
        rows.append(row(f"recall@10, {name}{when}", share, "", reach))
        rows.append(row(f"hits missing, {name}{when}", short, "", "<= 0"))
    return rows


def filtered(questions: list[tuple[str, Any]]) -> list[Row]:
    rows = []
    for name, key, value, filters in [
        ("25 % by role", "role", '"assistant"', {"role": "assistant"}),
        ("5 % by metadata", "five", "true", {"metadata": {"five": True}}),
    ]:
        condition = f"metadata @> '{{\"{key}\": {value}}}'"
        share, short = recall(questions[:40], condition, [], filters=filters)
        rows.append(row(f"recall@10, {name}", share, "", ">= 0.95"))
        rows.append(row(f"hits missing, {name}", short, "", "<= 0"))
    return rows


def watched(quick: bool) -> list[Row]:
    """`log.append` with the trigger and without it, in rounds that take turns."""
    from django.db import connection, transaction

    from conversations import log, sessions

    operations, rounds = (50, 1) if quick else (300, 11)
    conversation = sessions.open(1)[0].pk

    def appends(state: str) -> Callable[[], float]:
        def measure() -> float:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SET LOCAL event_triggers = off")  # else the guard refuses to take the rule away
                cursor.execute(f"ALTER TABLE messages {state} TRIGGER search_added")
            started = time.perf_counter()
            for _ in range(operations):
                log.append(conversation, "user", "hello there, how are you today?")
            return operations / (time.perf_counter() - started)

        return measure

    rates = medians({"with": appends("ENABLE"), "without": appends("DISABLE")}, rounds)
    return [row("append, watched", rates["without"] / rates["with"], "x the time", "<= 1.25", "append, not watched")]
