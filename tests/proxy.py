"""A proxy before PostgreSQL that loses an answer, cuts every connection, or hangs without closing, on request."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class Lossy:
    """Forwards between clients and the server; armed, it swallows the answer to the next request and hangs up."""

    def __init__(self, folder: Path, server: str) -> None:
        self.server = server
        self.lost = 0
        self._armed = threading.Event()
        self._passes = threading.Event()
        self._passes.set()
        self._refuses = False
        self._clients: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / ".s.PGSQL.5432"))
        self._listener.listen()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def lose_the_next_answer(self) -> None:
        self._armed.set()

    def cut(self) -> None:
        """End every connection, and each new one at once."""
        self._refuses = True
        for client in self._clients:
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def hang(self) -> None:
        """Pass no byte on, as a stopped server does; connections stay open and new ones are accepted."""
        self._passes.clear()

    def restore(self) -> None:
        self._refuses = False
        self._passes.set()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self._refuses:
                    client.close()
                    continue
                self._clients.append(client)
                thread = threading.Thread(target=self._serve, args=[client])
                self._threads.append(thread)
                thread.start()

    def _serve(self, client: socket.socket) -> None:
        """Ask and answer in turn, as the protocol does: a request is forwarded, and all of its answer comes back."""
        with client, socket.socket(socket.AF_UNIX) as server, suppress(OSError):
            server.connect(self.server)
            back = threading.Thread(target=self._answers, args=[server, client])
            back.start()
            while request := client.recv(65536):
                self._passes.wait()
                server.sendall(request)
            server.shutdown(socket.SHUT_WR)
            back.join()

    def _answers(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while answer := server.recv(65536):
                self._passes.wait()
                if self._armed.is_set():
                    self._armed.clear()
                    self.lost += 1
                    break
                client.sendall(answer)
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.restore()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)


@contextmanager
def lossy(folder: Path, server: str) -> Iterator[Lossy]:
    proxy = Lossy(folder, server)
    try:
        yield proxy
    finally:
        proxy.close()
