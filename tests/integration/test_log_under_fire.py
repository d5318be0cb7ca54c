"""The log while processes race, die and lose the database's answer."""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import pytest
from django.db import OperationalError, connection, connections, transaction

from conversations import log, sessions
from tests import raw
from tests.patience import LONG, PATIENCE
from tests.processes import eventually, running
from tests.proxy import Lossy, lossy

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def conversation() -> UUID:
    return sessions.open(1)[0].pk


def in_threads(*works: Callable[[], object]) -> list[BaseException]:
    """Run the works at once, each with a connection of its own; what they raised."""
    raised: list[BaseException] = []
    barrier = threading.Barrier(len(works))

    def run(work: Callable[[], object]) -> None:
        try:
            barrier.wait(PATIENCE)
            work()
        except BaseException as error:
            raised.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=[work]) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    return raised


@pytest.mark.long
@pytest.mark.parametrize("number_of_conversations", [1, 10])
def test_fifty_writers_of_whom_ten_are_killed_in_mid_transaction(number_of_conversations: int) -> None:
    ids = [sessions.open(n)[0].pk for n in range(number_of_conversations)]
    writers, each, victims = 50, 200 if LONG else 20, 10
    acknowledged: dict[UUID, dict[int, str]] = {each_id: {} for each_id in ids}
    arguments = (",".join(map(str, ids)), str(writers), str(each), str(victims))
    with running(sys.executable, "-m", "tests.writers", *arguments, DATABASE_URL=raw.url()) as tree:
        killed = 0
        while (line := tree.wait_for(r"^(stored|holding|failed|finished) ?(.*)")).group(1) != "finished":
            assert line.group(1) != "failed", line.group(2)
            if line.group(1) == "holding":
                os.kill(int(line.group(2)), signal.SIGKILL)
                killed += 1
            else:
                number, turn, where, index = line.group(2).split()
                acknowledged[UUID(where)][int(index)] = f"{number} {turn}"
        assert (tree.exit_code(), killed) == (0, victims)

    for each_id in ids:
        stored = log.history(each_id)
        assert [entry.message_index for entry in stored] == list(range(len(stored)))
        assert {entry.message_index: entry.content for entry in stored} == acknowledged[each_id]
        assert log.count(each_id) == len(stored)
    assert sum(map(len, acknowledged.values())) == (writers - victims) * each + victims * (each // 2)


@pytest.fixture
def proxy() -> Iterator[Lossy]:
    """Django's connection of this test goes through a proxy."""
    place = raw.parameters()
    before = dict(connection.settings_dict)
    with tempfile.TemporaryDirectory(prefix="parley-") as folder:  # pytest's own is too long a path for a socket
        with lossy(Path(folder), f"{place['host']}/.s.PGSQL.{place['port'] or 5432}") as between:
            connection.close()
            connection.settings_dict.update(HOST=folder, PORT="5432", CONN_MAX_AGE=None)
            yield between
            connection.close()
        connection.settings_dict.clear()
        connection.settings_dict.update(before)


@pytest.mark.long
@pytest.mark.parametrize("committed_by", ["statement", "transaction"])
def test_an_append_whose_answer_was_lost_is_repeated_without_a_second_row(
    proxy: Lossy, conversation: UUID, committed_by: str
) -> None:
    rounds, repeated = 250 if LONG else 40, 0
    for number in range(rounds):
        message = (conversation, "user", f"message {number}")

        def once(message: tuple[UUID, str, str] = message, number: int = number) -> log.Entry:
            if committed_by == "statement":
                connection.ensure_connection()
                proxy.lose_the_next_answer()
                return log.append(*message, external_id=f"id {number}")
            with transaction.atomic():
                entry = log.append(*message, external_id=f"id {number}")
                proxy.lose_the_next_answer()
            return entry

        with pytest.raises(OperationalError):
            once()
        connection.close()
        entry = log.append(*message, external_id=f"id {number}")
        repeated += entry.repeated
        assert entry.message_index == number
    assert proxy.lost == rounds
    assert repeated >= rounds * 0.9  # the server had committed before its answer was lost; that is the case to prove
    assert [entry.content for entry in log.history(conversation)] == [f"message {n}" for n in range(rounds)]


def test_two_who_race_with_one_external_id_get_one_row(conversation: UUID) -> None:
    answers: list[log.Entry] = []

    def deliver() -> None:
        for number in range(20):
            answers.append(log.append(conversation, "user", f"update {number}", external_id=str(number)))

    assert in_threads(*[deliver] * 5) == []
    assert len(answers) == 100
    assert sum(not answer.repeated for answer in answers) == 20
    assert len({answer.id for answer in answers}) == log.count(conversation) == 20


def test_an_answer_streams_while_the_person_types_and_neither_is_lost(conversation: UUID) -> None:
    def stream() -> None:
        for number in range(50):
            log.append(conversation, "assistant", f"part {number}")

    def type_() -> None:
        for number in range(50):
            log.append(conversation, "user", f"word {number}")

    assert in_threads(stream, type_) == []
    stored = log.history(conversation)
    assert [entry.message_index for entry in stored] == list(range(100))
    for role, name in (("assistant", "part"), ("user", "word")):
        assert [entry.content for entry in stored if entry.role == role] == [f"{name} {n}" for n in range(50)]
    assert [entry.created_at for entry in stored] == sorted(entry.created_at for entry in stored)


def test_two_tabs_save_their_lists_at_once_and_one_is_told(conversation: UUID) -> None:
    start = [{"role": "user", "content": "a"}]
    log.save_session(conversation, start)
    lists = [[*start, {"role": "user", "content": f"tab {n}"}] for n in range(4)]
    raised = in_threads(*[lambda tab=tab: log.save_session(conversation, tab) for tab in lists])
    assert [type(error) for error in raised] == [log.HistoryConflictError] * 3
    assert log.count(conversation) == 2


def test_a_reader_never_sees_a_later_message_before_an_earlier_one(conversation: UUID) -> None:
    with raw.connect(autocommit=False) as slow, raw.connect() as fast, raw.connect() as watcher:
        slow.execute("SELECT append_message(%s, 'user', 'first')", [conversation])
        pid = fast.info.backend_pid
        second = threading.Thread(
            target=lambda: fast.execute("SELECT append_message(%s, 'user', 'second')", [conversation])
        )
        second.start()
        waiting = "SELECT FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
        eventually(lambda: watcher.execute(waiting, [pid]).fetchone() is not None, "the second writer waits")
        assert log.history(conversation, after_index=-1) == []
        slow.commit()
        second.join(PATIENCE)
    assert [entry.content for entry in log.history(conversation, after_index=-1)] == ["first", "second"]


def test_readers_who_page_forward_while_writers_write_and_give_up_skip_nothing(conversation: UUID) -> None:
    writers, each = 6, 40
    finished: list[int] = []
    seen: list[list[int]] = [[], []]

    def write(seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311
        for number in range(each):
            try:
                with transaction.atomic():
                    log.append(conversation, "user", f"{seed} {number}")
                    if chance.random() < 0.3:
                        raise RuntimeError("changed my mind")
            except RuntimeError:
                pass
        finished.append(seed)

    def read(mine: list[int]) -> None:
        while True:
            last_look = len(finished) == writers
            page = log.history(conversation, after_index=mine[-1] if mine else -1, limit=7)
            mine.extend(entry.message_index for entry in page)
            if last_look and not page:
                return

    works = [lambda seed=seed: write(seed) for seed in range(writers)] + [lambda mine=mine: read(mine) for mine in seen]
    assert in_threads(*works) == []
    total = log.count(conversation)
    assert 0 < total < writers * each
    assert seen == [list(range(total))] * 2


def test_clearing_while_others_write_counts_every_message_once(conversation: UUID) -> None:
    cleared: list[int] = []

    def write() -> None:
        for _ in range(50):
            log.append(conversation, "user", "x")

    def clear() -> None:
        for _ in range(10):
            cleared.append(log.clear(conversation, by="test"))

    assert in_threads(write, write, clear, clear) == []
    assert sum(cleared) + log.count(conversation) == 100
    assert log.count(conversation) == len(log.history(conversation))


def test_batches_and_single_messages_race_without_an_error_or_a_gap(conversation: UUID) -> None:
    batch = [{"role": "user", "content": "same", "external_id": "shared"}, {"role": "user", "content": "own"}]

    def batches() -> None:
        for _ in range(15):
            assert len(log.append_many(conversation, batch)) == 2

    def singles() -> None:
        for _ in range(15):
            log.append(conversation, "user", "single")

    assert in_threads(batches, batches, batches, singles, singles) == []
    stored = log.history(conversation)
    assert [entry.message_index for entry in stored] == list(range(1 + 3 * 15 + 2 * 15))
