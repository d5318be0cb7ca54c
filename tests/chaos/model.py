"""A model on the loopback: it repeats what it was asked, sometimes fails, and writes down every call."""

from __future__ import annotations

import json
import random
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.chaos.history import History

FAULTS = {"reset": 0.02, "nothing": 0.02}  # shares of the calls
SEPARATOR = " | "


class Model(socketserver.ThreadingTCPServer):
    """One thread per call; the dice are seeded, the threads are not."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, history: History, seed: int) -> None:
        super().__init__(("127.0.0.1", 0), Call)
        self.history = history
        self.dice = random.Random(seed)  # noqa: S311  dice
        self.port: int = self.server_address[1]


class Call(socketserver.StreamRequestHandler):
    server: Model

    def handle(self) -> None:
        line = self.rfile.readline()
        if not line:
            return
        asked = json.loads(line)
        history, dice = self.server.history, self.server.dice
        history.note("invoke", by="model", **asked)
        fault = dice.choices([*FAULTS, "ok"], [*FAULTS.values(), 1 - sum(FAULTS.values())])[0]
        time.sleep(dice.uniform(0.005, 0.06))  # thinking
        if fault == "ok":
            history.note("ok", by="model", turn=asked["turn"])
            self._answer(SEPARATOR.join(asked["burst"]))
        elif fault == "reset":
            history.note("fail", by="model", turn=asked["turn"], fault=fault)
        else:
            history.note("fail", by="model", turn=asked["turn"], fault=fault)
            self.request.shutdown(1)

    def _answer(self, text: str) -> None:
        try:
            self.wfile.write((json.dumps({"text": text}) + "\n").encode())
        except OSError:
            return  # whoever asked has been killed


@contextmanager
def model(history: History, seed: int) -> Iterator[Model]:
    with Model(history, seed) as server:
        thread = threading.Thread(target=server.serve_forever, name="model", daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
