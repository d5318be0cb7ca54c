"""The web process as callers reach it: a real server behind a real socket."""

from __future__ import annotations

import http.client
import json
import socket
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import psutil

from tests.patience import PATIENCE
from tests.processes import free_port, running


@dataclass(frozen=True)
class Site:
    """A web process, and a key to its API."""

    port: int
    process: psutil.Process
    token: str

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def ask(self, method: str, path: str, body: Any = None, *, on: http.client.HTTPConnection | None = None) -> Any:
        """The status and the answer, on a connection of its own or a given one."""
        link = on or self.connect()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        try:
            link.request(method, f"/api{path}", None if body is None else json.dumps(body), headers)
            response = link.getresponse()
            return response.status, json.loads(response.read())
        finally:
            if on is None:
                link.close()

    def session(self) -> str:
        status, session = self.ask("POST", "/sessions", {"user_id": 1})
        assert status == 201
        id_: str = session["id"]
        return id_

    def raw(self, *pieces: bytes) -> bytes:
        """Send bytes as they are and return all that comes until the other side hangs up."""
        with closing(socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)) as link:
            try:
                for piece in pieces:
                    link.sendall(piece)
            except (BrokenPipeError, ConnectionResetError):
                pass  # it has heard enough; its answer may still be there
            received = b""
            try:
                while block := link.recv(65536):
                    received += block
            except ConnectionResetError:
                pass
        return received

    def head(self, length: int | None, *more: str) -> bytes:
        lines = [
            "POST /api/messages/append HTTP/1.1",
            "Host: localhost",
            f"Authorization: Bearer {self.token}",
            "Content-Type: application/json",
            *([] if length is None else [f"Content-Length: {length}"]),
            *more,
        ]
        return "\r\n".join([*lines, "", ""]).encode()


@contextmanager
def serving(url: str, token: str, **variables: str) -> Iterator[Site]:
    """What `manage.py web` becomes, on that database, for the length of the block."""
    port = free_port()
    with running(sys.executable, "-m", "config.serving", PORT=str(port), DATABASE_URL=url, **variables) as web:
        web.wait_for("Started server process")  # it listens already: who comes before it is ready waits in the socket
        yield Site(port, psutil.Process(web.process.pid), token)
