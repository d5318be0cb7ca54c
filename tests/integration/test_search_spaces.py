"""Spaces: one model's vectors serve until the next one's are complete, and the two are never compared."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from unittest.mock import patch

import pytest
from django.core.management import call_command
from django.db import DatabaseError, IntegrityError, connection, connections, transaction

from config import deeds, doctor
from conversations import log, sessions
from conversations.models import Conversation
from search import coverage, embedding, indexing, metrics, reindexing, spaces, vector_index
from search.embedders import EmbedderError
from search.models import Entry, Space, Status, Unembedded
from search.query import search
from tests import emptying, raw
from tests.embedding import BagOfWords
from tests.patience import PATIENCE
from tests.processes import eventually
from tests.racing import WAITING_FOR_A_LOCK
from tests.searching import embedder, find, settle, several, texts, titles

pytestmark = pytest.mark.django_db(transaction=True)

KILL_THE_BUILD = """
SELECT pg_terminate_backend(pid) FROM pg_stat_progress_create_index
WHERE datname = current_database()  -- other tests build on this server, too
"""

OLD, NEW = {"model": "old", "dimensions": 32}, {"model": "new", "dimensions": 48}


def said(*lines: str) -> None:
    chat = sessions.open(1)[0].pk
    for line in lines:
        log.append(chat, "user", line)


def statuses() -> list[tuple[str, str]]:
    return list(Space.objects.order_by("id").values_list("model", "status"))


@contextmanager
def no_grace() -> Iterator[None]:
    with patch.object(spaces, "RETIRE_AFTER", timedelta(0)):
        yield


def bring_to_an_end() -> None:
    """What a worker's ticks do until nothing is due."""
    for _ in range(20):
        settle()
        if not spaces.step():
            return
    raise AssertionError(spaces.due())


def test_the_first_embedder_adopts_the_texts_that_waited_for_it() -> None:
    said("tea one")
    settle()
    [only] = Space.objects.all()
    assert (only.model, coverage.of(only).embedded) == ("", 0)
    with embedder(**OLD):
        bring_to_an_end()
        assert statuses() == [("old", "active")]
        assert Entry.objects.count() == 1, "no second copy"
        assert find("tea", mode="vector") == ["tea one"]
    assert statuses() == [("old", "active")]
    settle()
    assert statuses() == [("old", "active")], "switching embeddings off keeps the vectors"


def test_a_switch_keeps_the_former_space_serving_until_the_next_is_complete() -> None:
    old, new = BagOfWords(**OLD), BagOfWords(**NEW)
    told: list[str] = []
    with several(old):
        said("moving to a flat", "the cat sleeps")
        bring_to_an_end()
    with no_grace(), several(new, old), patch.object(deeds, "LISTENERS", [lambda action, *_: told.append(action)]):
        spaces.ensure_current()
        assert statuses() == [("old", "active"), ("new", "building")]
        assert spaces.due() == ["copy"]
        found = search("cat")
        assert (texts(found)[0], found.space, found.degraded) == ("the cat sleeps", "old", ("building",))
        assert len(find("cat", mode="keyword")) == 1, "an entry that is in two spaces is told once"
        said("a dog barks")  # while it is built
        indexing.index_batch()
        spaces.step()
        spaces.step()
        assert search("dog").space == "old"
        assert Entry.objects.count() == 6
        bring_to_an_end()
        assert statuses() == [("old", "retired"), ("new", "active")]
        assert (search("dog").space, texts(search("dog"))[0]) == ("new", "a dog barks")
        assert Entry.objects.count() == 3, "the former one is cleared away"
        names = {space.status: space.index_name for space in Space.objects.all()}
        assert names["active"] in index_names()
        assert names["retired"] not in index_names()
        assert told == ["search.switch", "search.activate"]


def index_names() -> set[str]:
    with raw.connect() as db:
        rows = db.execute("SELECT indexname FROM pg_indexes WHERE indexname LIKE 'search_index_space_%'").fetchall()
    return {row["indexname"] for row in rows}


def test_vectors_of_two_spaces_are_never_compared() -> None:
    """Same dimensions, so that nothing but the space keeps them apart: the vectors of one are noise to the other."""
    old, new = BagOfWords(model="old", dimensions=1500), BagOfWords(model="new", dimensions=1500)
    with several(old):
        said(*(f"word{number}" for number in range(30)))
        bring_to_an_end()
    with several(new, old):
        spaces.ensure_current()
        while (next_ := spaces.building()) and spaces.copy_batch(next_):
            pass
        embedding.work()
        for number in range(30):
            found = search(f"word{number}", mode="vector", limit=1)
            assert texts(found) == [f"word{number}"]
            assert found.hits[0].similarity == pytest.approx(1, abs=1e-3)
        asked_old = len(old.asked)
        assert asked_old >= 30, "each space is asked in its own model's words"


def test_a_switch_that_is_taken_back_is_given_up() -> None:
    old, new, third = BagOfWords(**OLD), BagOfWords(**NEW), BagOfWords(model="third", dimensions=16)
    with several(old):
        said("tea")
        bring_to_an_end()
    with no_grace():
        with several(new, old):
            spaces.ensure_current()
            spaces.step()
        with several(third, old):
            spaces.ensure_current()
            assert statuses() == [("old", "active"), ("new", "retired"), ("third", "building")]
        with several(old):
            bring_to_an_end()
            assert statuses() == [("old", "active"), ("new", "retired"), ("third", "retired")]
            assert Entry.objects.count() == 1


def test_nothing_is_activated_while_an_embedder_fails() -> None:
    old, new = BagOfWords(**OLD), BagOfWords(**NEW)
    with several(old):
        said("tea")
        bring_to_an_end()
    new.trouble = EmbedderError("dead")
    with several(new, old):
        for _ in range(5):
            settle()
            spaces.step()
        assert statuses() == [("old", "active"), ("new", "building")]
        assert find("tea", mode="vector") == ["tea"]
        building = spaces.building()
        assert building
        assert spaces.activate(building) is False
        progress = spaces.progress(building)
        assert (progress.copied, progress.embedded, progress.done) == (1.0, 0.0, False)


def test_edits_and_deletions_during_the_copying_reach_both_spaces() -> None:
    old, new = BagOfWords(**OLD), BagOfWords(**NEW)
    with titles(), several(old):
        rows = [Conversation.objects.create(user_id=1, title=f"tea {number}") for number in range(6)]
        bring_to_an_end()
        with several(new, old):
            spaces.ensure_current()
            building = spaces.building()
            assert building
            spaces.copy_batch(building, limit=3)
            Conversation.objects.filter(pk=rows[0].pk).update(title="coffee")
            Conversation.objects.filter(pk=rows[5].pk).update(title="milk")
            Conversation.objects.filter(pk=rows[1].pk).update(title="")
            settle()
            while spaces.copy_batch(building, limit=3):
                pass
            for space in Space.objects.all():
                held = Entry.objects.filter(space=space).values_list("content", flat=True)
                assert sorted(held) == ["coffee", "milk", "tea 2", "tea 3", "tea 4"]


def test_an_erasure_during_the_copying_leaves_no_copy() -> None:
    """The copier holds an entry and has not committed; whoever deletes it waits, and deletes the copy, too."""
    old, new = BagOfWords(**OLD), BagOfWords(**NEW)
    with titles(), several(old):
        row = Conversation.objects.create(user_id=1, title="secret")
        bring_to_an_end()
        with several(new, old):
            spaces.ensure_current()
            building = spaces.building()
            assert building

            def erase() -> None:
                with transaction.atomic(), connection.cursor() as cursor:
                    cursor.execute("SET LOCAL parley.erasing = 'on'")
                    cursor.execute("DELETE FROM conversations WHERE id = %s", [row.pk])
                connections.close_all()

            eraser = threading.Thread(target=erase)
            with transaction.atomic():
                assert spaces.copy_batch(building) == 1
                eraser.start()
                with raw.connect() as db:
                    eventually(lambda: db.execute(WAITING_FOR_A_LOCK).fetchone() is not None, "the erasure waits")
            eraser.join(PATIENCE)
            assert not Entry.objects.exists()


def test_the_database_allows_one_space_to_serve_and_one_to_be_built() -> None:
    with embedder():
        settle()
    for status in (Status.ACTIVE, Status.BUILDING):
        if status == Status.BUILDING:
            Space.objects.create(model="a", dimensions=1, status=status)
        with pytest.raises(IntegrityError), transaction.atomic():
            Space.objects.create(model="b", dimensions=1, status=status)
    for wrong in ({"model": "", "dimensions": 3}, {"model": "a", "dimensions": 0}, {"model": "a", "dimensions": 4001}):
        with pytest.raises(IntegrityError), transaction.atomic():
            Space.objects.create(**wrong, status=Status.RETIRED)


@pytest.mark.parametrize(
    ("dimensions", "type_"), [(384, "vector(384)"), (2000, "vector(2000)"), (3072, "halfvec(3072)")]
)
def test_vectors_of_any_size_are_indexed_and_found(dimensions: int, type_: str) -> None:
    with embedder(dimensions=dimensions):
        said("moving to a flat", "the cat sleeps", "a dog barks")
        bring_to_an_end()
        space = spaces.serving()
        assert space
        assert vector_index.valid(space)
        with raw.connect() as db:
            definition = db.execute("SELECT pg_get_indexdef(%s::regclass)", [space.index_name]).fetchone()
        assert definition
        assert f"::{type_}" in definition["pg_get_indexdef"]
        assert f"space = {space.pk}" in definition["pg_get_indexdef"]
        with patch("search.legs.few", lambda _scope: False):
            found = search("cat", mode="vector")
            assert (texts(found)[0], found.scan) == ("the cat sleeps", "index")


def test_an_index_a_killed_build_left_invalid_is_built_again() -> None:
    with embedder():
        said("tea")
        settle()
        space = spaces.serving()
        assert space
        with raw.connect() as db:
            db.execute(vector_index.definition(space))
            db.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = %s::regclass", [space.index_name])
        assert not vector_index.valid(space)
        assert not metrics.vectors().ok
        assert spaces.due() == ["index"]
        spaces.step()
        assert vector_index.valid(space)
        assert metrics.vectors().ok
        assert metrics.vectors in doctor.THERE


@pytest.mark.parametrize("adopted", [False, True])
def test_an_index_of_a_space_that_had_the_id_before_refuses_nothing(adopted: bool) -> None:
    """Emptying the database may count from one again, and leaves indexes where they are."""
    with embedder(model="old", dimensions=32):
        said("tea")
        bring_to_an_end()
    former = Space.objects.get()
    call_command("flush", verbosity=0, interactive=False)
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [former.index_name])
        assert cursor.fetchone()[0]
        cursor.execute(f"ALTER TABLE search_spaces ALTER COLUMN id RESTART WITH {former.pk}")
    if adopted:
        said("tea")
        settle()
    with embedder(model="new", dimensions=48):
        said("milk")
        bring_to_an_end()
        assert Space.objects.get().pk == former.pk
        assert find("milk", mode="vector")[0] == "milk"
        assert vector_index.valid(former)


def test_a_test_leaves_no_index_of_its_space_to_the_next() -> None:
    for clear_away in (emptying.empty, emptying.truncate):
        with embedder():
            said("tea")
            bring_to_an_end()
        index = Space.objects.get().index_name
        with connection.cursor() as cursor:
            cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [index])
            assert cursor.fetchone()[0]
            clear_away()
            cursor.execute("SELECT count(*) FROM pg_class WHERE starts_with(relname, 'search_index_space_')")
            assert cursor.fetchone()[0] == 0


def test_a_build_that_is_killed_on_the_way_is_begun_again() -> None:
    """Somebody's open transaction keeps CONCURRENTLY waiting, and in the wait its backend is ended."""
    with embedder():
        said("tea")
        settle()
        space = spaces.serving()
        assert space
        with raw.connect(autocommit=False) as reader, raw.connect() as db:
            reader.execute("LOCK TABLE search_index IN ROW EXCLUSIVE MODE")
            failed: list[Exception] = []

            def build() -> None:
                try:
                    vector_index.build(space)
                except Exception as error:
                    failed.append(error)
                connections.close_all()

            builder = threading.Thread(target=build)
            builder.start()
            eventually(lambda: vector_index.state(space)[1], "the build is on its way")
            assert not vector_index.build(space), "nobody else begins a second one"
            assert spaces.progress(space).indexed < 1
            db.execute(KILL_THE_BUILD)
            builder.join(PATIENCE)
            reader.rollback()
        assert failed
        assert not vector_index.valid(space)
        assert vector_index.build(space)


def test_searches_go_on_through_a_switch_under_load() -> None:
    """Writers write, searchers search, the model changes; every search finds, in one space, what is there."""
    old, new = BagOfWords(model="old", dimensions=900), BagOfWords(model="new", dimensions=1100)
    with several(old):
        said(*(f"tea number{number:03}" for number in range(60)))
        bring_to_an_end()
    stop, wrong, seen = threading.Event(), [], set()

    def look() -> None:
        try:
            while not stop.is_set():
                for number in (3, 47):
                    found = search(f"number{number:03}", limit=5)
                    seen.add(found.space)
                    once = len(set(texts(found))) == len(found.hits)
                    if texts(found)[:1] != [f"tea number{number:03}"] or not once:
                        wrong.append(found)
        except Exception as error:
            wrong.append(error)
        connections.close_all()

    def write() -> None:
        for number in range(20):
            said(f"coffee {number}")
        connections.close_all()

    with no_grace(), several(new, old), patch.object(spaces, "COPY_BATCH", 10):
        threads = [threading.Thread(target=look), threading.Thread(target=look), threading.Thread(target=write)]
        for thread in threads:
            thread.start()
        with patch.object(spaces, "RETIRE_AFTER", timedelta(hours=1)):
            bring_to_an_end()
            threads[2].join(60)
            bring_to_an_end()
        eventually(lambda: "new" in seen or wrong, "the new space is searched")
        stop.set()
        for thread in threads:
            thread.join(60)
        assert wrong == []
        assert seen == {"old", "new"}
        bring_to_an_end()
        assert Entry.objects.count() == 80
        assert not Unembedded.objects.exists()
        assert coverage.count(spaces.serving() or Space()).share == 1.0


FAILS = "DO $$ BEGIN RAISE EXCEPTION 'no room' USING ERRCODE = '{}'; END $$"
FAILS_IN_PARALLEL = """
DO $$ BEGIN
    IF current_setting('max_parallel_maintenance_workers') <> '0' THEN
        RAISE EXCEPTION 'could not resize shared memory segment' USING ERRCODE = '53100';
    END IF;
END $$
"""


def test_an_index_that_cannot_be_built_is_tried_again_later_and_told_of() -> None:
    """Once a second it was, 60 times before anybody looked."""
    said("tea")
    with embedder():
        settle()
        with patch.object(vector_index, "definition", lambda _space: FAILS.format("58030")):
            with pytest.raises(DatabaseError):
                spaces.step()
            assert spaces.due() == []
        result = metrics.vectors()
        assert (result.ok, "no room" in result.detail) == (False, True)
        reindexing.prepare()
        assert spaces.due() == ["index"]
        bring_to_an_end()
        assert metrics.vectors().ok
        assert Space.objects.get().index_failures == 0


def test_an_index_is_built_by_one_process_where_shared_memory_is_small() -> None:
    said("tea")
    with embedder():
        settle()
        with patch.object(vector_index, "definition", lambda _space: FAILS_IN_PARALLEL):
            spaces.step()
        assert Space.objects.get().index_failures == 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT setting = reset_val FROM pg_settings WHERE name = 'max_parallel_maintenance_workers'")
        assert cursor.fetchone() == (True,)


def test_doctor_tells_of_a_space_that_cannot_be_made() -> None:
    said("tea")
    first, second = BagOfWords(), BagOfWords(model="next")
    with several(first):
        bring_to_an_end()
    second.trouble = EmbedderError("A vector of 1536 dimensions where 3072 are expected")
    with several(second, first):
        settle()
        spaces.copy_batch(spaces.building())
        spaces.copy_batch(spaces.building())
        settle()
        result = metrics.vectors()
    assert (result.ok, "1536" in result.detail) == (False, True)


def test_storing_vectors_may_take_longer_than_a_request() -> None:
    """64 vectors of 3,072 dimensions took more than ten seconds to find their places in the index."""
    said("tea")
    slow = embedding.STORE.replace("WHERE", "WHERE (SELECT pg_sleep(0.3)) IS NOT NULL AND")
    with embedder(), patch.object(embedding, "STORE", slow), connection.cursor() as cursor:
        spaces.ensure_current()
        indexing.index_batch()
        cursor.execute("SET statement_timeout = '100ms'")
        try:
            assert embedding.work() == 1
        finally:
            cursor.execute("RESET statement_timeout")
