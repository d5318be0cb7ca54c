"""The retrieval gate: whoever owns few rows among many finds all there is to find, also in an index full of the dead.

A small world here; the long run has 20,000 entries of 384 dimensions.
"""

from __future__ import annotations

import math
import random
from typing import Any
from unittest.mock import patch

import pytest
from django.db import connection

from search import coverage, legs, spaces, vector_index
from search.models import Entry, Space
from search.query import search
from tests.chaos.world import SEED
from tests.embedding import BagOfWords
from tests.patience import LONG
from tests.searching import several

pytestmark = pytest.mark.django_db(transaction=True)

SIZE, DIMENSIONS, QUESTIONS = (20_000, 384, 40) if LONG else (3_000, 32, 10)
OWNERS = {1: 1, 2: 9, 3: 100, 4: 1_000}
CLUSTERS = 60
WANTED = 0.95


class Points(BagOfWords):
    """A text is the name of a point: `cluster:number`."""

    def vector(self, text: str) -> list[float]:
        cluster, number = text.rsplit("x", maxsplit=1)[-1].split("y")
        centre, off = random.Random(f"{SEED} {cluster}"), random.Random(f"{SEED} {cluster} {number}")  # noqa: S311
        values = [centre.gauss(0, 1) + off.gauss(0, 0.7) for _ in range(self.dimensions)]
        length = math.sqrt(sum(value * value for value in values))
        return [value / length for value in values]


def name(dice: random.Random) -> str:
    return f"x{dice.randrange(CLUSTERS)}y{dice.randrange(10**9)}"


@pytest.fixture
def world() -> Any:
    """Entries written as `search_index` has them, so that the test is about finding."""
    dice, points = random.Random(SEED), Points(model="points", dimensions=DIMENSIONS)  # noqa: S311
    owned = [user for user, number in OWNERS.items() for _ in range(number)]
    users = owned + [dice.randrange(10, 60) for _ in range(SIZE - len(owned))]
    with several(points):
        space = spaces.ensure_current()
        texts = [name(dice) for _ in users]
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")
            with cursor.copy("COPY search_index (entity_type, entity_id, space, content, embedding, user_id, deleted)"
                             " FROM STDIN") as copy:  # fmt: skip
                for text, user in zip(texts, users, strict=True):
                    id_ = f"{dice.getrandbits(128):032x}"
                    copy.write_row(("message", id_, space.pk, text, str(points.vector(text)), user, "f"))
            cursor.execute("ALTER TABLE search_index SET (autovacuum_enabled = false)")
        vector_index.build(space)
        coverage.recount(space)
        yield points
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE search_index RESET (autovacuum_enabled)")


def judge(questions: list[str], **options: Any) -> tuple[float, int]:
    """Mean recall@10 against comparing everything, and how many hits were missing or too many."""
    [space] = Space.objects.all()
    shares, wrong = [], 0
    for question in questions:
        found = {hit.entity_id for hit in search(question, mode="vector", **options).hits}
        best = Entry.objects.filter(space=space, **({"user_id": options["user_id"]} if "user_id" in options else {}))
        vector = str(Points(dimensions=DIMENSIONS).vector(question))
        with connection.cursor() as cursor:
            ids = list(best.values_list("id", flat=True))
            cursor.execute(
                "SELECT entity_id FROM (SELECT entity_id, embedding <=> %s::vector AS d FROM search_index"
                " WHERE id = ANY(%s) OFFSET 0) AS x ORDER BY d LIMIT 10",
                [vector, ids],
            )
            wanted = {id_ for (id_,) in cursor.fetchall()}
        shares.append(len(found & wanted) / len(wanted) if wanted else 1.0)
        wrong += abs(len(found) - len(wanted))
    return sum(shares) / len(shares), wrong


@pytest.mark.long
@pytest.mark.parametrize("walked", [False, True])
def test_everybody_finds_what_is_theirs_before_and_after_most_is_deleted(world: Points, walked: bool) -> None:
    """`walked`: even the smallest user is searched by the index, which then has to find them among thousands."""
    dice = random.Random(SEED + 1)  # noqa: S311
    questions = [name(dice) for _ in range(QUESTIONS)]
    few = legs.few if not walked else (lambda _scope: False)
    with patch.object(legs, "few", few):
        for stage in ("full", "deleted"):
            if stage == "deleted":
                doomed = "SELECT id FROM search_index ORDER BY md5(id::text) LIMIT %s"
                with connection.cursor() as cursor:
                    cursor.execute(f"DELETE FROM search_index WHERE id IN ({doomed})", [SIZE * 9 // 10])
                coverage.recount(Space.objects.get())
            for options in [{}, *({"user_id": user} for user in OWNERS)]:
                recall, wrong = judge(questions, **options)
                assert wrong == 0, (stage, options, "neither too few nor too many")
                assert recall >= WANTED, (stage, options)
