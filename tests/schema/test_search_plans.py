"""The plan behind each shape of search, at a size where a wrong one would hurt."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from search import coverage, legs, naming, rarity, spaces, vector_index
from search.filters import where
from search.legs import Scope
from search.models import Entry
from search.words import Question
from tests.embedding import BagOfWords
from tests.schema.test_plans import nodes
from tests.searching import several

pytestmark = pytest.mark.django_db(transaction=True)

SIZE = 10_000
VECTOR = str([1.0] + [0.0] * 7)

# A common word, a rare one, and numbers; a hundred users, one of whom owns one in three entries.
FILL = """
INSERT INTO search_index (entity_type, entity_id, space, content, embedding, metadata, user_id, at)
SELECT 'message', uuidv7(), %(space)s, 'common number' || n || CASE WHEN n %% 1000 = 0 THEN ' rare' ELSE '' END,
    ARRAY[random(), random(), random(), random(), random(), random(), random(), 0.1]::vector,
    jsonb_build_object('role', CASE WHEN n %% 2 = 0 THEN 'user' ELSE 'assistant' END, 'session', n / 10,
        'agent', CASE WHEN n %% 2 = 0 THEN 'me' ELSE '' END),
    CASE WHEN n %% 3 = 0 THEN 1 ELSE n %% 100 + 2 END, clock_timestamp() - n * interval '1 minute'
FROM generate_series(1, %(size)s) n
"""


@pytest.fixture
def scope(kept_rows: None, transactional_db: None) -> Iterator[Any]:
    with several(BagOfWords(dimensions=8)):
        space = spaces.ensure_current()
        if not Entry.objects.exists():  # once for the module
            with connection.cursor() as cursor:
                cursor.execute(FILL, {"space": space.pk, "size": SIZE})
                vector_index.build(space)
                cursor.execute("VACUUM (ANALYZE) search_index")
            coverage.recount(space)
        space.refresh_from_db()
        rarity._common.clear()

        def scope(question: Question | None = None, user_id: int | None = None, **filters: Any) -> Scope:
            return Scope(space, where(user_id, None, filters), question or Question())

        yield scope
    rarity._common.clear()


def plan(query: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute("SET hnsw.iterative_scan = relaxed_order")
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}", values)
        found = cursor.fetchone()[0]
    parsed = json.loads(found) if isinstance(found, str) else found
    return list(nodes(parsed[0]["Plan"]))


def indexes(steps: list[dict[str, Any]]) -> set[str]:
    return {step["Index Name"] for step in steps if "Index Name" in step}


def test_everything_and_wide_filters_walk_the_index_of_the_space(scope: Any) -> None:
    for one in (scope(), scope(role="user"), scope(user_id=1)):
        values = {**one.values, "vector": VECTOR, "depth": 30}
        assert indexes(plan(legs.nearest(one, exact=False), values)) == {one.space.index_name}


def test_an_exact_comparison_never_walks_the_index_of_the_space(scope: Any) -> None:
    for one in (scope(), scope(user_id=5)):
        values = {**one.values, "vector": VECTOR, "depth": 30}
        assert one.space.index_name not in indexes(plan(legs.nearest(one, exact=True), values))


def test_few_candidates_are_found_by_an_index_of_their_filter(scope: Any) -> None:
    one = scope(user_id=5)
    values = {**one.values, "vector": VECTOR, "depth": 30}
    assert "search_index_user" in indexes(plan(legs.nearest(one, exact=True), values))
    one = scope(metadata={"session": 77})
    assert "search_index_metadata" in indexes(plan(legs.nearest(one, exact=True), {**one.values, "vector": VECTOR,
                                                                                  "depth": 30}))  # fmt: skip


def test_the_default_agent_is_looked_up_twice_in_the_index_of_the_metadata(
    scope: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(naming.DEFAULTS, "agent", lambda: "me")
    one = scope(metadata={"session": 77}, agent="me")
    steps = plan(legs.nearest(one, exact=True), {**one.values, "vector": VECTOR, "depth": 30})
    assert [step["Node Type"] for step in steps].count("Bitmap Index Scan") == 2
    assert indexes(steps) == {"search_index_metadata"}
    assert legs.few(one)
    wide = scope(agent="me")
    assert not legs.few(wide)
    steps = plan(legs.nearest(wide, exact=False), {**wide.values, "vector": VECTOR, "depth": 30})
    assert indexes(steps) == {wide.space.index_name}


def test_what_is_few_is_told_without_reading_it_all(scope: Any) -> None:
    assert legs.few(scope(user_id=5))
    assert legs.few(scope(metadata={"session": 77}))
    assert not legs.few(scope())
    assert not legs.few(scope(role="user"))


def test_a_rare_word_is_found_by_its_index_and_a_common_one_stops_at_the_newest(scope: Any) -> None:
    rare = scope(Question(strict="'rare'", terms=("'rare'",)))
    query, values = legs.STRICT.format(scope=rare.sql), {"most": legs.RANKED, "depth": 30}
    steps = plan(query, {**rare.values, **values, "strict": "'rare'"})
    assert "search_index_words" in indexes(steps)
    common = scope(Question(strict="'common'", terms=("'common'",)))
    steps = plan(legs.STRICT.format(scope=common.sql), {**common.values, **values, "strict": "'common'"})
    read = max(int(step["Actual Rows"]) for step in steps if step["Node Type"].endswith("Scan"))
    assert read <= legs.RANKED
    assert indexes(steps) == {"search_index_at"}


def test_common_words_are_known_without_counting_and_rare_ones_are_counted(scope: Any) -> None:
    counted = rarity.counts(scope().space, ("'common'", "'rare'", "'nobody'"), most=legs.RARE)
    assert counted["'common'"] == pytest.approx(SIZE, rel=0.1)
    assert counted["'rare'"] == SIZE // 1000
    assert "'nobody'" not in counted


def test_a_loose_search_fetches_the_rare_and_leaves_the_common(scope: Any) -> None:
    one = scope(Question(strict="'common' & 'rare' & 'nobody'", terms=("'common'", "'rare'", "'nobody'")))
    found = legs.by_words(one, 30, 10)
    assert len(found) == SIZE // 1000
    assert all(0.2 < hit.share < 0.8 for hit in found), "a word nobody wrote is missing in each"


def test_the_newest_changes_and_the_due_work_are_found_by_an_index(scope: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO search_unembedded (entry_id, space) SELECT id, space FROM search_index")
        cursor.execute("VACUUM (ANALYZE) search_unembedded")
    one = scope()
    steps = plan(
        "SELECT entry_id FROM search_unembedded WHERE space = %(space)s AND state = 'waiting'"
        " AND due_at <= clock_timestamp() ORDER BY due_at LIMIT 32",
        {"space": one.space.pk},
    )
    assert indexes(steps) == {"search_unembedded_due"}
    assert all(step["Node Type"] != "Sort" for step in steps)
