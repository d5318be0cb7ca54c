"""What probes ask for, answered from memory for a few seconds: any number of them costs the database one round."""

import time
from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

from django.conf import settings

Answer = TypeVar("Answer")


class Held(Generic[Answer]):
    """An answer of this process that holds for PROBE_SECONDS; one caller at a time asks for the next."""

    def __init__(self, ask: Callable[[], Answer]) -> None:
        self._ask = ask
        self._lock = Lock()
        self._latest: tuple[float, Answer] | None = None

    def get(self) -> Answer:
        with self._lock:
            if self._latest is None or time.monotonic() - self._latest[0] >= settings.PROBE_SECONDS:
                self._latest = time.monotonic(), self._ask()
            return self._latest[1]
