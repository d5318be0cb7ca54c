"""A database that accepts connections and answers nothing: every wait ends, and the reason is the true one."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import psycopg
import pytest
from django.conf import settings
from django.db import DataError, InterfaceError, OperationalError, connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from config.database import SAFE, Cluster, throwaway
from config.postgresql.connections import WatchedConnection, is_working
from config.postgresql.failures import Failure, HungError, failure
from tests.patience import granted
from tests.processes import ROOT
from tests.web import serving

LIMIT = 1  # seconds, in place of DATABASE_TIMEOUT
PROBED = LIMIT + 4  # with the second connection's time, and a late answer's


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with throwaway(SAFE) as cluster:
        yield cluster


@contextmanager
def frozen(cluster: Cluster) -> Iterator[None]:
    """Every process of the server is stopped, and goes on afterwards."""
    server = psutil.Process(int((cluster.data / "postmaster.pid").read_text().splitlines()[0]))
    family = [server, *server.children(recursive=True)]
    for process in family:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in reversed(family):
            if process.is_running():
                process.send_signal(signal.SIGCONT)


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "DATABASE_TIMEOUT", LIMIT)


def test_a_frozen_server_ends_the_wait_and_the_connection(cluster: Cluster, limited: None) -> None:
    with WatchedConnection.connect(cluster.url, autocommit=True) as watched:
        begun = time.monotonic()
        with frozen(cluster), pytest.raises(HungError):
            watched.execute("SELECT 1")
        assert LIMIT <= time.monotonic() - begun < granted(PROBED)
        assert watched.closed


def test_a_long_statement_of_a_living_server_is_left_to_the_server(cluster: Cluster, limited: None) -> None:
    with WatchedConnection.connect(cluster.url, autocommit=True) as watched:
        assert watched.execute(f"SELECT pg_sleep({2.5 * LIMIT}), 7").fetchone() == ("", 7)
        with pytest.raises(psycopg.errors.QueryCanceled) as raised:
            watched.execute(f"SET statement_timeout = '{2 * LIMIT}s'; SELECT pg_sleep(60)")
        assert failure(raised.value) is Failure.BUSY
        assert watched.execute("SELECT 1").fetchone() == (1,)


def test_a_server_that_is_idle_for_this_connection_has_lost_the_answer(cluster: Cluster) -> None:
    with WatchedConnection.connect(cluster.url, autocommit=True) as watched:
        assert not is_working(watched)


def test_notifications_may_take_as_long_as_their_listener_waits(cluster: Cluster, limited: None) -> None:
    with WatchedConnection.connect(cluster.url, autocommit=True) as watched:
        watched.execute("LISTEN something")
        assert list(watched.notifies(timeout=2 * LIMIT)) == []
        assert not watched.closed


@pytest.mark.django_db
def test_django_and_its_pool_use_watched_connections() -> None:
    connection.ensure_connection()
    assert isinstance(connection.connection, WatchedConnection)
    expression = (
        "import django; django.setup(); from django.db import connection as c; c.ensure_connection();"
        "print(type(c.connection).__name__, type(c.pool).__name__); c.close(); c.close_pool()"
    )
    environment = {
        "PATH": os.environ["PATH"], "DATABASE_URL": os.environ["DATABASE_URL"], "DATABASE_POOL": "true",
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", expression], cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == ["WatchedConnection", "ConnectionPool"]


def test_a_request_to_a_frozen_database_is_answered_in_time(cluster: Cluster) -> None:
    def manage(*arguments: str) -> str:
        environment = {"PATH": os.environ["PATH"], "DATABASE_URL": cluster.url}
        command = [sys.executable, "manage.py", *arguments]
        return subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout

    manage("migrate", "-v0")
    found = re.search(r"parley_\w{8}_[\w-]{43}", manage("apikey", "create", "frozen"))
    assert found
    limits = {"DATABASE_TIMEOUT": "2", "DATABASE_CONNECT_TIMEOUT": "2", "DATABASE_POOL_WAIT": "1"}
    with serving(cluster.url, found[0], **limits) as site:
        session = site.session()
        message = {"session_id": session, "role": "user", "content": "x"}
        with frozen(cluster):
            begun = time.monotonic()
            status, body = site.ask("POST", "/messages/append", message)
            assert time.monotonic() - begun < granted(10)
        assert (status, body["error"]) == (503, "database_unavailable")
        assert site.ask("POST", "/messages/append", message)[0] == 201


@pytest.fixture
def other(transactional_db: None) -> Iterator[BaseDatabaseWrapper]:
    other = connection.copy()
    yield other
    other.close()


def test_a_lock_and_a_statement_that_take_too_long_are_no_outage(other: BaseDatabaseWrapper) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(4711)")
        with other.cursor() as waiting:
            waiting.execute("SET lock_timeout = '50ms'; SET statement_timeout = '200ms'")
            with pytest.raises(OperationalError) as locked:
                waiting.execute("SELECT pg_advisory_xact_lock(4711)")
            with pytest.raises(OperationalError) as slow:
                waiting.execute("SELECT pg_sleep(60)")
    assert [failure(locked.value), failure(slow.value)] == [Failure.BUSY, Failure.BUSY]


def test_failures_that_have_no_state_are_outages_and_mistakes_are_no_failures(db: None) -> None:
    with pytest.raises(psycopg.OperationalError) as unreachable:
        psycopg.connect("host=/nowhere dbname=x")
    assert failure(unreachable.value) is failure(OperationalError("x")) is failure(InterfaceError("x")) is Failure.AWAY
    with pytest.raises(DataError) as wrong, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT 1/0")
    assert failure(wrong.value) is failure(ValueError("x")) is None
    hung = OperationalError("x")
    hung.__cause__ = HungError("no answer")
    assert failure(hung) is Failure.HUNG
