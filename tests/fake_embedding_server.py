"""An embeddings server on a real socket, as rude as told to. Its good vectors are those of the local model."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from typing import Any

from search.embedders.local import LocalEmbedder
from tests.fake_model_server import Answer, Ask, Handler, Server

LOCAL = LocalEmbedder()
Vectors = list[Any]


@dataclass(frozen=True)
class Embed:
    """A good answer, or one made worse by `change`, which gets the rows of `data`."""

    change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]] = lambda rows: rows


@dataclass(frozen=True)
class Trickle:
    """The answer begins and never ends, a byte at a time."""


class EmbeddingHandler(Handler):
    def answer(self, answer: Any) -> None:
        match answer:
            case Embed(change):
                body = json.dumps({"object": "list", "data": change(rows(self.fake.asked[-1]))}).encode()
                self.whole(200, body, "application/json")
            case Trickle():
                self.begin()
                while not self.fake.over.wait(0.02):
                    self.raw(b" ")
                self.close_connection = True
            case _:
                super().answer(answer)


def rows(ask: Ask) -> list[dict[str, Any]]:
    vectors = LOCAL.embed(ask["input"])
    return [{"object": "embedding", "index": at, "embedding": vector} for at, vector in enumerate(vectors)]


def with_vector(vector: Any) -> Embed:
    """The first vector is another."""
    return Embed(lambda rows: [{**rows[0], "embedding": vector}, *rows[1:]])


@contextmanager
def embedding_server(*script: Embed | Trickle | Answer) -> Iterator[Server]:
    """A server for the length of the block."""
    handler = type("Bound", (EmbeddingHandler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    fake = Server(f"http://127.0.0.1:{server.server_port}/v1", list(script or [Embed()]))  # type: ignore[arg-type]
    handler.fake = fake  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        fake.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
