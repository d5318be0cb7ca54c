"""Two chunks of an import are on their way at once: what was begun in the wrong order ends in the right one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.db.backends.base.base import BaseDatabaseWrapper

from conversations.legacy import batches, overlapping, placing, writing
from conversations.legacy.chunks import Chunk, chunks
from conversations.legacy.errors import LegacyError, WentBackError
from conversations.models import Conversation, ImportBatch, ImportStatus, Message
from tests.old_world import FLAT, Old, bring, file, old_database, said
from tests.patience import PATIENCE

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def old(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Old]:
    """Three chats of two messages, each a chunk of its own."""
    monkeypatch.setattr(batches, "chunks", lambda *args: chunks(*args, most=2))
    monkeypatch.setattr(writing, "FIRST_PAUSE", 0)
    with old_database(FLAT) as world:
        for chat in (1, 2, 3):
            world.say(chat, "user", f"{chat} a").say(chat, "assistant", f"{chat} b")
        yield world


ALL = [(role, f"{chat} {letter}") for chat in (1, 2, 3) for role, letter in (("user", "a"), ("assistant", "b"))]


def all_of(batch: ImportBatch) -> None:
    assert sorted(said()) == sorted(ALL)
    assert (batch.status, batch.read, batch.brought, batch.known) == (ImportStatus.DONE, 6, 6, 0)
    assert (batch.report["conversations"], batch.report["opened"]) == (3, 3)


def test_the_next_chunk_is_sent_before_one_is_committed_and_committed_after_it(
    old: Old, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim, turn = writing._claim, overlapping.Flight.turn
    waits, stored = threading.Event(), []

    def waiting(flight: Any) -> None:
        if flight.before:
            waits.set()  # all its rows are with the database
        turn(flight)

    def claiming(run: Any, chunk: Chunk) -> None:
        assert waits.wait(PATIENCE), "the second chunk is not sent while the first is open"
        stored.append(Message.objects.count())  # one's own, and those of the chunks before
        claim(run, chunk)

    monkeypatch.setattr(overlapping.Flight, "turn", waiting)
    monkeypatch.setattr(writing, "_claim", claiming)
    all_of(bring(old.url))
    assert stored == [2, 4, 6]


def test_a_chunk_waits_for_the_one_it_shares_a_chat_with(old: Old, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared, seen = placing.prepared, []

    def preparing(run: Any, chunk: Chunk, **how: Any) -> Any:
        seen.append((list(chunk.chats), ImportBatch.objects.get().read))
        return prepared(run, chunk, **how)

    monkeypatch.setattr(placing, "prepared", preparing)
    monkeypatch.setattr(batches, "chunks", lambda *args: chunks(*args, most=1))
    old.run("DELETE FROM messages WHERE chat_id > 1").say(1, "user", "1 c").say(1, "user", "1 d")
    bring(old.url)
    assert seen == [(['["1", "1"]'], 0), (['["1", "1"]'], 1), (['["1", "1"]'], 3)]
    assert [text for _, text in said()] == ["1 a", "1 b", "1 c", "1 d"]


SESSIONS = [
    {"user_id": 1, "chat_id": 5, "messages": [{"role": "user", "content": text}] * 2, "id": text} for text in "abcd"
]


@pytest.mark.parametrize("seen", [True, False])
def test_of_several_sessions_of_one_chat_one_goes_on(
    old: Old, monkeypatch: pytest.MonkeyPatch, tmp_path: Any, seen: bool
) -> None:
    """Where it is not seen that two chunks meet, they meet in an index of the database."""
    once, tries = writing.once, []

    def trying(*args: Any, **how: Any) -> None:
        tries.append(args)
        once(*args, **how)

    monkeypatch.setattr(writing, "once", trying)
    monkeypatch.setattr(overlapping.Flight, "patience", "50ms")
    if not seen:
        monkeypatch.setattr(Chunk, "meets", lambda *_: False)
    batch = bring(file(tmp_path, SESSIONS))
    assert (batch.status, batch.brought) == (ImportStatus.DONE, 8)
    modes = Conversation.objects.order_by("metadata__import__key").values_list("mode", flat=True)
    assert sorted(modes) == ["auto", "closed", "closed", "closed"]
    assert len(tries) == 4 or not seen


def test_a_chunk_that_waits_for_the_one_behind_it_does_not_wait_for_ever(
    old: Old, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the one behind holds it gives back when it is told that this one failed."""
    monkeypatch.setattr(overlapping.Flight, "patience", "50ms")
    settle, first = writing.settle, []

    def settling(run: Any, plan: Any) -> None:
        if not first:
            first.append(plan)
            assert behind.wait(PATIENCE)
            with connection.cursor() as cursor:
                cursor.execute("INSERT INTO tallies (name, hour, count) VALUES ('x', now(), 1)")
        settle(run, plan)

    monkeypatch.setattr(writing, "settle", settling)
    behind = threading.Event()
    turn = overlapping.Flight.turn

    def waiting(flight: Any) -> None:
        if flight.before:
            if not behind.is_set():
                with connection.cursor() as cursor:
                    cursor.execute("LOCK TABLE tallies IN EXCLUSIVE MODE")
            behind.set()
        turn(flight)

    monkeypatch.setattr(overlapping.Flight, "turn", waiting)
    all_of(bring(old.url))


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_connection_that_breaks_costs_another_try(old: Old, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    claim, claims = writing._claim, []

    def claiming(run: Any, chunk: Chunk) -> None:
        claims.append(chunk)
        if len(claims) == number:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        claim(run, chunk)

    monkeypatch.setattr(writing, "_claim", claiming)
    all_of(bring(old.url))


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_commit_whose_answer_was_lost_is_not_repeated(old: Old, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    commit, commits = BaseDatabaseWrapper._commit, []

    def losing(wrapper: Any) -> None:
        commit(wrapper)
        if threading.current_thread().name.startswith("import-writer"):
            commits.append(wrapper)
            if len(commits) == number:
                raise OperationalError("the connection was lost")

    monkeypatch.setattr(BaseDatabaseWrapper, "_commit", losing)
    all_of(bring(old.url))
    assert len(commits) >= number


def test_a_database_that_has_lost_a_chunk_is_not_written_behind_it(old: Old, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a failover to a replica that was behind."""
    claim, claims = writing._claim, []

    def claiming(run: Any, chunk: Chunk) -> None:
        claims.append(chunk)
        if len(claims) == 2:
            with connection.cursor() as cursor:
                cursor.execute("UPDATE imports SET position = NULL")
        claim(run, chunk)

    monkeypatch.setattr(writing, "_claim", claiming)
    with pytest.raises(WentBackError):
        bring(old.url)
    assert ImportBatch.objects.get().status == ImportStatus.FAILED


@pytest.mark.parametrize(
    ("end", "told"),
    [(LegacyError("the source went away"), "the source went away"), (KeyboardInterrupt(), "Stopped by hand.")],
)
def test_what_is_on_its_way_when_an_import_ends_is_stored_and_gone_on_with(
    old: Old, monkeypatch: pytest.MonkeyPatch, end: BaseException, told: str
) -> None:
    def breaking(*args: Any) -> Iterator[Chunk]:
        found = chunks(*args, most=2)
        yield next(found)
        yield next(found)
        raise end

    monkeypatch.setattr(batches, "chunks", breaking)
    with pytest.raises(type(end)):
        bring(old.url)
    batch = ImportBatch.objects.get()
    assert (batch.status, batch.error, batch.read) == (ImportStatus.FAILED, told, 4)
    monkeypatch.setattr(batches, "chunks", lambda *args: chunks(*args, most=2))
    all_of(bring(old.url))
