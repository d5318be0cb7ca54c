"""The API while PostgreSQL restarts, stays away or takes no writes: 503 and nothing lost, never 500."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest

from config.database import SAFE, Cluster, throwaway
from tests.patience import LONG, PATIENCE
from tests.processes import ROOT, eventually
from tests.web import Site, serving

RESTARTS = 20 if LONG else 3


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A server of its own that may be pulled down."""
    with throwaway(SAFE) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def site(cluster: Cluster) -> Iterator[Site]:
    def manage(*arguments: str) -> str:
        environment = {"PATH": os.environ["PATH"], "DATABASE_URL": cluster.url}
        command = [sys.executable, "manage.py", *arguments]
        return subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout

    manage("migrate", "-v0")
    found = re.search(r"parley_\w{8}_[\w-]{43}", manage("apikey", "create", "outage"))
    assert found
    with serving(cluster.url, found[0], DATABASE_CONNECT_TIMEOUT="1", DATABASE_POOL_WAIT="1") as served:
        yield served


def answer(site: Site, method: str, path: str, body: Any = None) -> tuple[int, Any, http.client.HTTPMessage]:
    """Status, body and headers."""
    with closing(site.connect()) as link:
        headers = {"Authorization": f"Bearer {site.token}", "Content-Type": "application/json"}
        link.request(method, f"/api{path}", None if body is None else json.dumps(body), headers)
        response = link.getresponse()
        return response.status, json.loads(response.read()), response.headers


def test_while_the_database_is_away_callers_are_told_when_to_come_back(site: Site, cluster: Cluster) -> None:
    session = site.session()
    message = {"session_id": session, "role": "user", "content": "x"}
    cluster.stop("immediate")
    try:
        for call in (
            ("POST", "/sessions", {"user_id": 1}),
            ("GET", f"/sessions/{session}"),
            ("POST", "/messages/append", message),
            ("GET", f"/sessions/{session}/messages"),
            ("DELETE", f"/sessions/{session}/messages"),
        ):
            status, body, headers = answer(site, *call)
            assert (status, body["error"]) == (503, "database_unavailable")
            assert int(headers["Retry-After"]) > 0
            assert "Traceback" not in body["detail"]
    finally:
        cluster.start()
    eventually(lambda: answer(site, "POST", "/messages/append", message)[0] == 201, "the same process serves again")


def test_what_was_acknowledged_survives_restarts_and_retries_store_nothing_twice(site: Site, cluster: Cluster) -> None:
    session, done = site.session(), threading.Event()
    acknowledged: dict[str, int] = {}
    other: list[tuple[int, Any]] = []

    def write(writer: int) -> None:
        number = 0
        while not done.is_set():
            external = f"{writer}.{number}"
            body = {"session_id": session, "role": "user", "content": external, "external_id": external}
            status, stored, _headers = answer(site, "POST", "/messages/append", body)
            if status in {200, 201}:
                acknowledged[external] = stored["message_index"]
                number += 1
            elif status != 503:
                other.append((status, stored))

    writers = [threading.Thread(target=write, args=[number]) for number in range(4)]
    for writer in writers:
        writer.start()
    try:
        for _ in range(RESTARTS):
            before = len(acknowledged)
            eventually(lambda before=before: len(acknowledged) > before + 20, "writers get on")  # type: ignore[misc]
            cluster.stop("immediate")
            cluster.start()
    finally:
        done.set()
        for writer in writers:
            writer.join(PATIENCE)
    assert other == []
    stored, after = [], -1
    while after is not None:
        status, page, _headers = answer(site, "GET", f"/sessions/{session}/messages?after_index={after}&limit=500")
        if status == 503:
            continue  # the pool has not yet let go of all that broke
        stored += page["messages"]
        after = page["next_after_index"]
    assert [message["message_index"] for message in stored] == list(range(len(stored)))
    assert len({message["content"] for message in stored}) == len(stored), "stored twice"
    indexes = {message["content"]: message["message_index"] for message in stored}
    assert acknowledged.items() <= indexes.items(), "acknowledged and lost"


def test_a_database_that_takes_no_writes_still_answers_reads(site: Site, cluster: Cluster) -> None:
    session = site.session()
    message = {"session_id": session, "role": "user", "content": "x"}
    assert answer(site, "POST", "/messages/append", message)[0] == 201

    def read_only(value: str) -> None:
        with psycopg.connect(cluster.url, autocommit=True) as server:
            server.execute("SET default_transaction_read_only = off")
            server.execute(f"ALTER SYSTEM SET default_transaction_read_only = {value}")  # type: ignore[arg-type]
            server.execute("SELECT pg_reload_conf()")

    read_only("on")
    try:
        eventually(lambda: answer(site, "POST", "/messages/append", message)[0] == 503, "writes are refused")
        for _ in range(20):
            status, page, _headers = answer(site, "GET", f"/sessions/{session}/messages")
            assert status == 200
            assert page["count"] >= 1
            status, body, headers = answer(site, "POST", "/messages/append", message)
            assert (status, body["error"]) == (503, "database_unavailable")
            assert headers["Retry-After"]
    finally:
        read_only("off")
    eventually(lambda: answer(site, "POST", "/messages/append", message)[0] == 201, "writes are taken again")
