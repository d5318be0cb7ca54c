"""The API behind a real socket: bodies that lie, crawl or swell, and many who ask at once."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
from django.db import connection

from conversations import keys, log
from tests import raw
from tests.patience import PATIENCE
from tests.processes import eventually
from tests.web import Site, serving

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("kept_rows")]

BODY_SECONDS = HEADER_SECONDS = 2
MEGABYTE = 1024 * 1024
MOST_GROWTH = 20 * MEGABYTE


@pytest.fixture(scope="module")
def site(django_db_setup: None, django_db_blocker: Any) -> Iterator[Site]:
    """A web process on the database of this test run."""
    with django_db_blocker.unblock():
        token = keys.create("transport", by="test")[1]
        connection.close()
    limits = {"HTTP_BODY_SECONDS": str(BODY_SECONDS), "HTTP_HEADER_SECONDS": str(HEADER_SECONDS)}
    with serving(raw.url(), token, DATABASE_POOL_WAIT="30", **limits) as served:
        yield served


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def error(answer: bytes) -> str:
    code: str = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    return code


def test_a_body_announced_too_large_is_refused_before_it_is_read(site: Site) -> None:
    site.session()
    before = site.process.memory_info().rss
    answer = site.raw(site.head(50 * MEGABYTE), b'{"content": "', *[b"x" * MEGABYTE] * 49)
    assert (status(answer), error(answer)) == (413, "body_too_large")
    assert site.process.memory_info().rss - before < MOST_GROWTH
    assert site.session()


def test_a_body_that_never_said_how_large_it_is_stops_at_the_limit(site: Site) -> None:
    site.session()
    before = site.process.memory_info().rss
    chunk = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    answer = site.raw(site.head(None, "Transfer-Encoding: chunked"), *[chunk] * 50)
    assert (status(answer), error(answer)) == (413, "body_too_large")
    assert site.process.memory_info().rss - before < MOST_GROWTH
    assert site.session()


def test_a_gzip_bomb_is_not_unpacked(site: Site) -> None:
    bomb = gzip.compress(b"0" * 100 * MEGABYTE, 9)
    before = site.process.memory_info().rss
    answer = site.raw(site.head(len(bomb), "Content-Encoding: gzip", "Connection: close"), bomb)
    assert (status(answer), error(answer)) == (415, "unsupported_encoding")
    assert site.process.memory_info().rss - before < MOST_GROWTH


@pytest.fixture
def unfinished(site: Site) -> Iterator[socket.socket]:
    """A connection whose headers have no end; it grows old while the test is about something else."""
    with closing(socket.create_connection(("127.0.0.1", site.port), timeout=PATIENCE)) as link:
        link.sendall(site.head(1_000).removesuffix(b"\r\n"))
        yield link


def test_a_body_or_headers_that_crawl_are_cut_off_and_others_are_served_meanwhile(
    site: Site, unfinished: socket.socket
) -> None:
    with closing(socket.create_connection(("127.0.0.1", site.port), timeout=PATIENCE)) as link:
        link.sendall(site.head(1_000))
        started = time.monotonic()
        link.settimeout(0.1)
        answer = b""
        while not answer and time.monotonic() - started < PATIENCE:
            link.sendall(b" ")
            assert site.ask("POST", "/sessions", {"user_id": 1})[0] == 201
            try:
                answer = link.recv(65536)
            except TimeoutError:
                continue
        link.settimeout(PATIENCE)
        while block := link.recv(65536):
            answer += block
    assert (status(answer), error(answer)) == (408, "body_too_slow")
    assert b"connection: close" in answer.lower()
    assert unfinished.recv(1) == b"", "hung up, without a word"


def test_a_body_shorter_than_announced_is_never_acted_upon(site: Site) -> None:
    session = site.session()
    body = json.dumps({"session_id": session, "role": "user", "content": "half"}).encode()
    with closing(socket.create_connection(("127.0.0.1", site.port), timeout=PATIENCE)) as link:
        link.sendall(site.head(len(body) + 1) + body)
        link.shutdown(socket.SHUT_WR)
        while link.recv(65536):
            pass  # whatever it says, it has decided when it hangs up
    assert site.ask("GET", f"/sessions/{session}/messages")[1]["count"] == 0


def test_a_body_longer_than_announced_is_cut_and_the_rest_is_no_request(site: Site) -> None:
    session = site.session()
    body = json.dumps({"session_id": session, "role": "user", "content": "whole"}).encode()
    answer = site.raw(site.head(len(body)) + body + b"GARBAGE\r\n\r\n")
    assert status(answer) == 201
    assert b"HTTP/1.1 400" in answer
    assert site.ask("GET", f"/sessions/{session}/messages")[1]["count"] == 1


@pytest.mark.parametrize("length", ["-1", "x", "1e3", "5, 6", "9" * 5_000])
def test_a_senseless_length_is_refused(site: Site, length: str) -> None:
    head = site.head(None, f"Content-Length: {length}")
    assert status(site.raw(head + b"{}")) in {400, 413}
    assert site.session()


@pytest.mark.parametrize(
    "lines",
    [
        ["X-Long: " + "x" * 70_000],
        [f"X-{number}: 1" for number in range(1_000)],
        [f"X-{number}: 1" for number in range(100)],
        ["X-Forged: a\rSet-Cookie: b"],
        ["X-Forged: a\x00b"],
        ["no colon"],
        ["Transfer-Encoding: chunked", "Content-Length: 2"],
    ],
    ids=["64 kB", "1,000", "over 100", "CR", "NUL", "no colon", "two lengths"],
)
def test_headers_beyond_reason_are_refused(site: Site, lines: list[str]) -> None:
    answer = site.raw(site.head(None, *lines, "Connection: close"))
    assert status(answer) in {400, 431}
    assert b"Set-Cookie" not in answer
    assert site.session()


def test_requests_on_one_connection_do_not_disturb_each_other(site: Site) -> None:
    with closing(site.connect()) as link:
        session = site.session()
        for number in range(20):
            bad = {"session_id": session, "role": "user", "content": "x", "surprise": 1}
            assert site.ask("POST", "/messages/append", bad, on=link)[0] == 400
            good = {"session_id": session, "role": "user", "content": "x"}
            code, stored = site.ask("POST", "/messages/append", good, on=link)
            assert (code, stored["message_index"]) == (201, number)


def at_once(number: int, act: Callable[[int], Any]) -> list[Any]:
    """All behind one barrier."""
    barrier = threading.Barrier(number)

    def run(position: int) -> Any:
        barrier.wait()
        return act(position)

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(run, range(number)))


def test_fifty_equal_appends_at_once_have_one_effect(site: Site) -> None:
    body = {"session_id": site.session(), "role": "user", "content": "once", "external_id": "key"}
    answers = at_once(50, lambda _: site.ask("POST", "/messages/append", body))
    assert sorted(code for code, _ in answers) == [200] * 49 + [201]
    assert all(message == answers[0][1] for _, message in answers)
    assert site.ask("GET", f"/sessions/{body['session_id']}/messages")[1]["count"] == 1


def test_fifty_different_appends_under_one_external_id_have_one_effect(site: Site) -> None:
    session = site.session()

    def append(number: int) -> Any:
        body = {"session_id": session, "role": "user", "content": str(number), "external_id": "key"}
        return site.ask("POST", "/messages/append", body)

    answers = at_once(50, append)
    assert sorted(code for code, _ in answers) == [201] + [409] * 49
    stored = next(message for code, message in answers if code == 201)
    assert site.ask("GET", f"/sessions/{session}/messages")[1]["messages"] == [stored]


def test_fifty_openings_of_one_chat_at_once_open_one_session(site: Site) -> None:
    answers = at_once(50, lambda _: site.ask("POST", "/sessions", {"user_id": 1, "chat_id": 50}))
    assert sorted(code for code, _ in answers) == [200] * 49 + [201]
    assert len({session["id"] for _, session in answers}) == 1


def test_an_answer_streamed_in_pieces_while_the_person_types(site: Site) -> None:
    """Two tabs and an agent that appends as it thinks: three writers and a reader that only ever moves forward."""
    session, pieces = site.session(), 40

    def write(writer: int) -> None:
        with closing(site.connect()) as link:
            for number in range(pieces):
                role = ("assistant", "user", "user")[writer]
                body = {"session_id": session, "role": role, "content": f"{writer}.{number}"}
                assert site.ask("POST", "/messages/append", body, on=link)[0] == 201

    def read(seen: list[dict[str, Any]]) -> None:
        with closing(site.connect()) as link:
            deadline = time.monotonic() + PATIENCE
            while len(seen) < 3 * pieces and time.monotonic() < deadline:
                after = seen[-1]["message_index"] if seen else -1
                page = site.ask("GET", f"/sessions/{session}/messages?after_index={after}&limit=7", on=link)[1]
                seen += page["messages"]

    seen: list[dict[str, Any]] = []
    reader = threading.Thread(target=read, args=(seen,))
    reader.start()
    at_once(3, write)
    reader.join()
    assert [message["message_index"] for message in seen] == list(range(3 * pieces))
    for writer in range(3):
        own = [message["content"] for message in seen if message["content"].startswith(f"{writer}.")]
        assert own == [f"{writer}.{number}" for number in range(pieces)]
    assert log.count(session) == 3 * pieces  # type: ignore[arg-type]  # as SQL takes it


def test_a_caller_who_hangs_up_leaves_nothing_behind(site: Site) -> None:
    for _ in range(20):
        with closing(socket.create_connection(("127.0.0.1", site.port))) as link:
            link.sendall(site.head(100) + b'{"session_id":')
    eventually(lambda: len(site.process.net_connections()) <= 3, "all connections closed")
    assert site.session()
