"""The index follows its sources: whoever writes them, whatever dies in between, and whatever an embedder does."""

from __future__ import annotations

import dataclasses
import sys
import threading
import time
from typing import Any
from unittest.mock import patch
from uuid import UUID

import pytest
from django.db import OperationalError, connection, connections, transaction

from config.columns import clock
from config.queue import run_due, sweep
from conversations import erasure, log, sessions
from conversations.models import Conversation, Message
from search import coverage, embedding, indexing, reindexing, spaces, tasks, watching
from search.declarations import declared
from search.embedders import EmbedderError
from search.models import Entry, Pending, Space, Unembedded
from tests import raw
from tests.answering import an_agent
from tests.integration.test_crashes import output_of
from tests.patience import PATIENCE, granted
from tests.processes import eventually
from tests.racing import WAITING_FOR_A_LOCK, blocked_by_us
from tests.searching import embedder, find, settle, titles

pytestmark = pytest.mark.django_db(transaction=True)

WORKER = "import django; django.setup(); from tests.searching import settle; settle()"


def said(*lines: str, user: int = 1) -> UUID:
    chat: UUID = sessions.open(user)[0].pk
    for line in lines:
        log.append(chat, "user", line)
    return chat


def leases_run_out() -> None:
    """Those of a worker that died."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE search_unembedded SET due_at = due_at - interval '1 hour'")
        cursor.execute("UPDATE search_pending SET leased_until = leased_until - interval '1 hour'")


def held() -> list[tuple[str, str, bool]]:
    rows = Entry.objects.order_by("entity_type", "content", "chunk").values_list("entity_type", "content", "deleted")
    return list(rows)


def test_rows_of_any_client_are_noticed_in_the_transaction_that_writes_them() -> None:
    with titles(), raw.connect(autocommit=False) as db:
        db.execute("INSERT INTO conversations (user_id, title) VALUES (1, 'by hand'), (1, 'two')")
        assert not Pending.objects.exists(), "not before it is committed"
        db.rollback()
        assert not Pending.objects.exists(), "never, where it is not"
        db.execute("INSERT INTO conversations (user_id, title) VALUES (1, 'by hand'), (1, 'two')")
        db.commit()
        settle()
        assert held() == [("title", "by hand", False), ("title", "two", False)]
        db.execute("UPDATE conversations SET title = 'changed' WHERE title = 'two'")
        db.execute("UPDATE conversations SET metadata = '{\"a\": 1}'")
        db.commit()
        assert Pending.objects.count() == 1, "a column that does not matter wakes nobody"
        settle()
        assert held() == [("title", "by hand", False), ("title", "changed", False)]
        db.execute("UPDATE conversations SET title = '' WHERE title = 'changed'")
        db.execute("UPDATE conversations SET mode = 'closed' WHERE title = 'by hand'")
        db.commit()
        settle()
        assert held() == [("title", "by hand", True)]


def test_what_was_said_follows_its_conversation_to_another_agent_person_and_channel() -> None:
    """Else the filters tell the state of the day it was said; of a person, somebody would find what is not theirs."""
    first, second = an_agent(), an_agent()
    chat, other = sessions.open(1, agent_id=first.pk)[0].pk, sessions.open(1, agent_id=first.pk)[0].pk
    for talk, text in ((chat, "tea"), (chat, "green tea"), (other, "tea elsewhere")):
        log.append(talk, "user", text)
    with embedder():
        settle()
        with raw.connect() as db:
            db.execute("UPDATE conversations SET title = 'x', agent_id = agent_id, user_id = user_id")
            assert not Pending.objects.exists(), "nothing has changed that anybody is found by"
            moved = "UPDATE conversations SET agent_id = %s, user_id = 2, channel = 'moved' WHERE id = %s"
            db.execute(moved, [second.pk, chat])
        assert Pending.objects.count() == 2
        settle()
        assert set(find("tea", filters={"agent": first.pk})) == {"tea elsewhere"}
        assert set(find("tea", filters={"agent": second.pk})) == {"tea", "green tea"}
        assert set(find("tea", user_id=1)) == {"tea elsewhere"}
        assert set(find("tea", filters={"metadata": {"channel": "moved"}})) == {"tea", "green tea"}
        assert not Unembedded.objects.exists(), "the texts are the same, and keep their vectors"


def test_a_row_that_shrinks_leaves_no_chunk_behind() -> None:
    with titles(), patch("search.indexing.chunks", lambda text: text.split()):
        chat = Conversation.objects.create(user_id=1, title="one two three")
        settle()
        assert [content for _, content, _ in held()] == ["one", "three", "two"]
        Conversation.objects.filter(pk=chat.pk).update(title="four")
        settle()
        assert [content for _, content, _ in held()] == ["four"]


def test_deleting_a_conversation_softly_hides_it_and_erasing_it_leaves_nothing() -> None:
    with embedder():
        chat = said("tea one", "tea two")
        settle()
        log.clear(chat, by="staff")
        settle()
        assert find("tea") == []
        assert set(find("tea", filters={"deleted": "only"})) == {"tea one", "tea two"}
        erasure.erase(chat, by="staff", reason="asked for")
        assert (Entry.objects.count(), Unembedded.objects.count()) == (0, 0), "at once, not when a worker comes"
        settle()
        assert Entry.objects.count() == 0


def test_an_erasure_waits_for_the_indexing_it_meets_and_takes_its_entries_along() -> None:
    """The indexer has read the row and not committed: its entries would outlive the row, were they not waited for."""
    chat = said("tea one")
    spaces.ensure_current()
    eraser = threading.Thread(target=lambda: (erasure.erase(chat, by="x", reason="y"), connections.close_all()))
    with transaction.atomic():
        assert indexing.index_batch().entries == 1
        eraser.start()
        with raw.connect() as db:
            eventually(lambda: db.execute(WAITING_FOR_A_LOCK).fetchone() is not None, "the erasure waits")
    eraser.join(PATIENCE)
    assert not Message.objects.exists()
    assert not Entry.objects.exists()


def test_erasing_many_takes_their_messages_in_the_order_the_indexer_does() -> None:
    """Otherwise each waits for what the other has, and one of the two is ended by the database."""
    chats = [sessions.open(user)[0].pk for user in (1, 2)]
    second_chat, first_chat = chats
    first, second = (log.append(chat, "user", "tea").id for chat in (first_chat, second_chat))
    # A new place in the table, behind the other's: its messages are deleted last, and have the lower ids.
    Conversation.objects.filter(pk=first_chat).update(last_message_at=clock())
    with transaction.atomic(), connection.cursor() as cursor:
        hold = indexing.HOLD.format("messages")
        cursor.execute(hold, [[first]])
        eraser = blocked_by_us(lambda: erasure.erase_all(chats, by="x", reason="y"))
        cursor.execute(hold, [[second]])
    assert len(eraser.result(PATIENCE)) == 2
    assert not Message.objects.exists()


def test_a_row_that_breaks_its_indexing_stops_nobody_else_and_is_told_of() -> None:
    said("good", "bad", "fine")
    whole = declared()["message"]

    def text(message: Message) -> str:
        if message.content == "bad":
            raise ZeroDivisionError("of the declaration")
        return message.content

    with patch.dict("search.declarations._DECLARED", {"message": dataclasses.replace(whole, text=text)}):
        settle()
        assert [content for _, content, _ in held()] == ["fine", "good"]
        waiting = Pending.objects.get()
        assert (waiting.attempts, waiting.error) == (indexing.ATTEMPTS, "ZeroDivisionError: of the declaration")
    reindexing.prepare()
    settle()
    assert len(held()) == 3


def test_a_row_the_database_refuses_is_left_aside() -> None:
    said("tea", "coffee")
    whole = declared()["message"]
    huge = dataclasses.replace(whole, user=lambda message: 2**70 if message.content == "tea" else 1)
    with patch.dict("search.declarations._DECLARED", {"message": huge}):
        settle()
    assert [content for _, content, _ in held()] == ["coffee"]
    assert Pending.objects.get().attempts == indexing.ATTEMPTS


POISONED = """
import dataclasses, os, django
django.setup()
from search.declarations import declare, declared
whole = declared()["message"]
def text(message):
    if message.content == "poison":
        os.kill(os.getpid(), 9)
    return message.content
declare(dataclasses.replace(whole, text=text))
from tests.searching import settle
settle()
"""


def test_a_row_that_kills_its_worker_is_tried_alone_and_given_up_while_the_others_are_found() -> None:
    """The attempt is on record before the work: nobody is left to tell of it afterwards."""
    said("good", "poison", "fine")
    for death in range(indexing.ATTEMPTS):
        output_of(sys.executable, "-c", POISONED, exit_code=-9)
        assert Pending.objects.filter(attempts=death + 1, error=indexing.DIED).exists()
        leases_run_out()
    output_of(sys.executable, "-c", POISONED)
    assert [content for _, content, _ in held()] == ["fine", "good"]
    assert (Pending.objects.get().attempts, Pending.objects.get().error) == (indexing.ATTEMPTS, indexing.DIED)


def test_rows_in_work_are_left_alone_until_their_lease_ends() -> None:
    said("tea")
    with patch("search.indexing._index", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        indexing.index_batch()
    assert indexing.index_batch() == indexing.NOTHING
    leases_run_out()
    settle()
    assert find("tea") == ["tea"]


@pytest.mark.parametrize(("sqlstate", "attempts"), [("55P03", 0), ("57P01", 0), ("57014", 1)])
def test_a_statement_that_takes_too_long_counts_and_a_lock_or_an_outage_does_not(sqlstate: str, attempts: int) -> None:
    said("tea")
    raising = f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{sqlstate}'; END $$"
    with patch("search.indexing.HOLD", f"{raising}; --{{}} %s"), pytest.raises(OperationalError):
        indexing.index_batch()
    assert Pending.objects.get().attempts == attempts
    settle()
    assert find("tea") == ["tea"]


def test_a_megabyte_of_marks_costs_nobody_else_a_second() -> None:
    """Putting them in order took 547 seconds, in which nothing else of the process ran."""
    said("tea before", "a" + "\u0315\u0300" * 250_000, "tea behind")
    started = time.process_time()
    tasks.tick()
    assert time.process_time() - started < granted(1)
    assert set(find("tea", mode="keyword")) == {"tea before", "tea behind"}
    assert not Pending.objects.exists()


def test_a_batch_of_long_texts_ends_in_time_and_gives_the_rest_back() -> None:
    said(*(f"tea {number}" for number in range(50)))
    with patch.object(indexing, "BUSY", 0.0):
        spaces.ensure_current()
        assert indexing.index_batch().entries == indexing.SLICE
    assert set(Pending.objects.values_list("attempts", "error", "leased_until")) == {(0, "", None)}
    settle()
    assert Entry.objects.count() == 50


def test_names_with_what_json_and_postgresql_cannot_hold_are_cleaned() -> None:
    said("tea")
    odd = {"a": "x\0y", "b": "\ud800", "c": float("nan"), "d": ["\0", 1], "e\0": 1, "f": None}
    whole = dataclasses.replace(declared()["message"], metadata=lambda _message: odd)
    with patch.dict("search.declarations._DECLARED", {"message": whole}):
        settle()
    assert Entry.objects.get().metadata == {"a": "xy", "b": "", "c": None, "d": ["", 1], "e": 1}


def test_the_same_words_are_embedded_once() -> None:
    with embedder() as bag:
        said("yes", "yes", "no")
        settle()
        said("yes")
        settle()
        assert sorted(bag.asked) == ["no", "yes"]
        assert Entry.objects.filter(embedding__isnull=False).count() == 4
        assert not Unembedded.objects.exists()


def test_what_changes_while_it_is_embedded_keeps_no_vector_of_its_former_text() -> None:
    with titles(), embedder() as bag:
        chat = Conversation.objects.create(user_id=1, title="before")
        embed = bag.embed

        def meanwhile(texts: list[str], *, query: bool = False) -> list[list[float]]:
            if "before" in texts:
                Conversation.objects.filter(pk=chat.pk).update(title="after")
                indexing.index_batch()
            return embed(texts)

        with patch.object(bag, "embed", meanwhile):
            settle()
        entry = Entry.objects.get()
        assert entry.content == "after"
        assert list(entry.embedding) == pytest.approx(bag.vector("after"), abs=1e-5)


@pytest.mark.parametrize("point", ["search_taken", "search_claimed", "search_stored"])
def test_a_worker_that_dies_in_the_middle_has_lost_nothing(point: str) -> None:
    said("tea one", "tea two", "tea three")
    dying = {"CRASH_AT": point, "EMBEDDINGS_PROVIDER": "tests.embedding.BagOfWords"}
    output_of(sys.executable, "-c", WORKER, exit_code=137, **dying)
    leases_run_out()
    with embedder():
        settle()
        assert Entry.objects.filter(embedding__isnull=False).count() == 3
        assert (Pending.objects.count(), Unembedded.objects.count()) == (0, 0)
        assert coverage.count(Space.objects.get()).share == 1.0


def test_two_workers_share_the_work_and_do_none_of_it_twice() -> None:
    with embedder(batch=4) as bag:
        said(*(f"tea {number}" for number in range(60)))
        spaces.ensure_current()
        threads = [threading.Thread(target=lambda: (_work(), connections.close_all())) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        settle()
        assert Entry.objects.filter(embedding__isnull=False).count() == 60
        assert len(bag.asked) == len(set(bag.asked)) == 60


def _work() -> None:
    while indexing.index_batch(7).taken:
        pass
    embedding.work()


def test_a_text_the_embedder_never_takes_is_refused_alone_once_and_visibly() -> None:
    with embedder() as bag:
        said(*(f"tea {number}" for number in range(9)), "poison")
        embed = bag.embed
        calls: list[list[str]] = []

        def picky(texts: list[str], *, query: bool = False) -> list[list[float]]:
            calls.append(list(texts))
            if "poison" in texts:
                raise EmbedderError("too spicy", permanent=True)
            return embed(texts)

        with patch.object(bag, "embed", picky):
            settle()
            settle()
        assert sum(call == ["poison"] for call in calls) == 1
        refused = Unembedded.objects.get()
        assert (refused.state, refused.error) == ("failed", "too spicy")
        counted = coverage.count(Space.objects.get())
        assert (counted.embedded, counted.pending, counted.failed) == (9, 0, 1)
        assert find("poison", mode="keyword") == ["poison"], "by word it is found"
        assert embedding.try_again(Space.objects.get()) == 1
        settle()
        assert not Unembedded.objects.exists()


BROKEN: list[Any] = [
    lambda dimensions: [1.0] * (dimensions - 1),
    lambda dimensions: [1.0] * (dimensions + 1),
    lambda _dimensions: [],
]


@pytest.mark.parametrize("bad", BROKEN)
def test_an_embedder_of_other_dimensions_is_asked_once_and_left_alone(bad: Any) -> None:
    with embedder() as bag:
        said("tea one", "tea two")
        calls = []
        with patch.object(bag, "vector", lambda text: calls.append(text) or bad(64)):
            settle()
            settle()
        assert len(calls) == 2, "one call with both texts"
        space = Space.objects.get()
        assert space.failures == 1
        assert "dimensions" in space.error
        assert space.paused_until
        assert Unembedded.objects.filter(state="waiting").count() == 2, "nothing is wrong with the texts"
        assert set(find("tea", mode="keyword")) == {"tea one", "tea two"}


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 0.0, 1e39, 1e-50])
def test_a_vector_that_is_none_is_never_stored(number: float) -> None:
    with embedder() as bag:
        said("tea one")
        with patch.object(bag, "vector", lambda _text: [number] * 64):
            settle()
        assert Entry.objects.get().embedding is None
        assert Unembedded.objects.get().state == "failed"
    with pytest.raises(Exception, match="no_zero_vector"), raw.connect() as db:
        db.execute("UPDATE search_index SET embedding = '[0,0,0]'")


def test_a_rate_limit_is_kept_to_and_everything_embedded_in_the_end() -> None:
    with embedder() as bag:
        said("tea one")
        bag.trouble = EmbedderError("slow down", retry_after=77)
        settle()
        space = Space.objects.get()
        with connection.cursor() as cursor:
            cursor.execute("SELECT extract(epoch FROM paused_until - clock_timestamp()) FROM search_spaces")
            assert 60 < cursor.fetchone()[0] <= 77
        bag.trouble = None
        settle()
        assert not bag.asked, "not before its time"
        Space.objects.update(paused_until=None)
        settle()
        space.refresh_from_db()
        assert (space.failures, space.error, Unembedded.objects.count()) == (0, "", 0)


def test_an_outage_is_met_with_longer_and_longer_pauses() -> None:
    with embedder() as bag:
        said("tea one")
        bag.trouble = EmbedderError("dead")
        pauses = []
        for _ in range(8):
            settle()
            with connection.cursor() as cursor:
                cursor.execute("SELECT extract(epoch FROM paused_until - error_at)::float FROM search_spaces")
                pauses.append(round(cursor.fetchone()[0]))
            Space.objects.update(paused_until=None)
        assert pauses == [1, 2, 5, 15, 30, 60, 60, 60]
        assert Unembedded.objects.get().state == "waiting"


def test_the_worker_does_it_all_by_itself() -> None:
    with embedder():
        said("tea one")
        tasks.defer(tasks.TICK)
        while run_due():
            pass
        assert Entry.objects.get().embedding is not None
        assert Space.objects.get().embedded == 0, "counted when the tick came by"
        tasks.tick()
        run_due()
        assert tasks.spaces.due() == []


def test_the_sweep_finds_what_no_tick_came_for() -> None:
    said("tea one")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE search_pending SET created_at = created_at - interval '1 minute'")
    assert {swept.name: swept.woken for swept in sweep()}["search.overdue"] == 1
    while run_due():
        pass
    assert find("tea") == ["tea one"]


def test_installing_the_triggers_again_changes_nothing_and_a_new_declaration_changes_one() -> None:
    assert watching.watch() == []
    with titles():
        assert watching.watch() == []
        said("x")
    assert watching.watch() == []


def test_a_table_that_is_watched_late_has_its_rows_queued() -> None:
    Conversation.objects.create(user_id=1, title="older than the trigger")
    with titles():
        settle()
        assert find("older") == ["older than the trigger"]


def test_vectors_of_one_length_are_stored_whatever_the_embedder_makes() -> None:
    with embedder() as bag:
        said("tea one")
        with patch.object(bag, "vector", lambda _text: [3e5] * 64):
            settle()
        vector = Entry.objects.get().embedding
        assert sum(float(number) ** 2 for number in vector) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("forced", [False, True])
def test_a_claim_takes_no_more_than_its_limit_however_it_is_planned(forced: bool) -> None:
    """As a plain sub-query it was run again for each row under some plans."""
    said("one", "two", "three")
    with transaction.atomic(), connection.cursor() as cursor:
        for name in ("hashagg", "hashjoin", "mergejoin", "material", "sort", "seqscan") if forced else ():
            cursor.execute(f"SET LOCAL enable_{name} = off")
        assert len(indexing._claim(indexing.FRESH, 1)) == 1
