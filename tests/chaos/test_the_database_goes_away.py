"""The database restarts without a word, or answers nothing any more."""

import socket
import threading
from contextlib import ExitStack

import psycopg
import pytest
from django.db import connection

from config.queue import defer, signing
from tests.chaos.world import World
from tests.patience import LONG, eventually

RESTARTS = 20 if LONG else 3


@pytest.mark.long
def test_nothing_is_lost_when_the_database_crashes_again_and_again(chaos: World) -> None:
    worker = chaos.worker(processes=3)
    queued = 0
    for round_ in range(RESTARTS):
        for _ in range(20):
            defer("stage.database", queued, 0.05)
            queued += 1
        seen = len(chaos.notes())
        eventually(lambda seen=seen: len(chaos.notes()) > seen, 15, "work is going on")
        chaos.restart_database()
        before = len(chaos.notes())
        connection.close()
        defer("stage.note", 100_000 + round_)
        eventually(lambda before=before: len(chaos.notes()) > before, 10, "work resumes after the restart")
    eventually(lambda: chaos.count() == 0, 60, f"drained; left: {chaos.rows('SELECT * FROM queue_tasks')}")
    notes = [int(note) for note in chaos.notes()]
    assert {note for note in notes if note < 100_000} == set(range(queued))
    assert worker.popen.poll() is None
    assert chaos.rows("SELECT restarts FROM queue_workers") == [(0,)], "nobody had to be restarted"


class Proxy:
    """Passes bytes between clients and the server until it is told to swallow what old connections say."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.swallowing: set[socket.socket] = set()
        self.pairs: list[tuple[socket.socket, socket.socket]] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:
                return
            upstream = socket.socket(socket.AF_UNIX)
            upstream.connect(self.target)
            self.pairs.append((client, upstream))
            for source, sink in ((client, upstream), (upstream, client)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                if source not in self.swallowing:
                    sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def black_hole(self) -> None:
        """Every connection there is stays open and says nothing any more; new ones work."""
        for pair in self.pairs:
            self.swallowing.update(pair)

    def close(self) -> None:
        self.server.close()
        for pair in self.pairs:
            for end in pair:
                end.close()


@pytest.mark.long
def test_a_half_open_connection_delays_work_by_seconds_only(chaos: World) -> None:
    with ExitStack() as stack:
        proxy = Proxy(str(chaos.cluster.socket_folder / ".s.PGSQL.5432"))
        stack.callback(proxy.close)
        url = f"postgresql://parley@127.0.0.1:{proxy.port}/parley"
        worker = chaos.worker(processes=2, DATABASE_URL=url)  # a task that is under way holds its process
        defer("stage.note", 0)
        eventually(lambda: chaos.notes() == ["0"], 10, "a first task runs")
        for number in range(1, 9 if LONG else 3):
            restarts = chaos.rows("SELECT restarts FROM queue_workers")
            proxy.black_hole()
            defer("stage.note", number)
            claimed = f"name = 'stage.note' AND args = '[{number}]' AND state = 'waiting'"
            eventually(lambda claimed=claimed: chaos.count(claimed) == 0, 3.5, "claimed although the listener is dead")
            if LONG:  # on a busy machine the supervisor may lose patience first, which is its job
                assert chaos.rows("SELECT restarts FROM queue_workers") == restarts, "by itself"
            eventually(lambda number=number: str(number) in chaos.notes(), 20, "and run")
        assert worker.popen.poll() is None
        chaos.stop_workers()


@pytest.mark.long
def test_notifications_are_only_a_hint(chaos: World) -> None:
    """Rows written without any notification, as after a lost one, start by the poll."""
    chaos.worker(processes=1)
    for number in range(5):
        defer("stage.note", number, at=None)
        eventually(lambda number=number: str(number) in chaos.notes(), 3, "with a notification")
    chaos.execute(
        "INSERT INTO queue_tasks (name, args, key_id, signature) SELECT name, args, key_id, signature FROM"
        " (VALUES ('stage.note', %s, %s, %s)) AS row (name, args, key_id, signature)",
        *signed("stage.note", 99),
    )
    eventually(lambda: "99" in chaos.notes(), 3, "without one")


def signed(name: str, *args: object) -> tuple[str, str, str]:
    encoded = signing.encode(name, args)
    return encoded, *signing.sign(name, encoded)


@pytest.mark.long
def test_a_database_that_refuses_to_write_delays_work_and_loses_none(chaos: World) -> None:
    """Stands for a full disk: every write fails, and the connection lives."""
    worker = chaos.worker(processes=2)
    for number in range(30):
        defer("stage.slow", number, 0.2)
    eventually(lambda: len(chaos.notes()) > 2, 10, "work is going on")
    with psycopg.connect(chaos.cluster.url, autocommit=True, options="-c default_transaction_read_only=off") as admin:
        admin.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        admin.execute("SELECT pg_reload_conf()")
        try:
            eventually(lambda: "lost the database" in worker.text(), 10, "the worker noticed")
        finally:
            admin.execute("ALTER SYSTEM RESET default_transaction_read_only")
            admin.execute("SELECT pg_reload_conf()")
    eventually(lambda: chaos.count("name = 'stage.slow'") == 0, 20, "drained")
    assert {int(note) for note in chaos.notes()} == set(range(30))
    assert chaos.count("state = 'dead'") == 0


@pytest.mark.long
def test_a_stop_is_prompt_while_the_database_is_away(chaos: World) -> None:
    worker = chaos.worker(processes=2)
    chaos.cluster.stop("immediate")
    try:
        eventually(lambda: "lost the database" in worker.text(), 10, "the worker noticed")
        worker.stop()
    finally:
        chaos.cluster.start()
