"""Signs of life from inside the processes that run tasks.

A thread of each writes its number to a pipe once a second. A call into C that holds the GIL stops the thread, too:
neither an alarm nor a timeout reaches such a process, only a kill from outside.
"""

import os
import struct
import threading
import time
from contextlib import suppress

BEAT_EVERY = 1.0  # seconds
REMEMBERED = 600.0  # seconds; a number is given again some day
NUMBER = struct.Struct("=i")
READ = 64 * 1024  # bytes: all that a pipe holds


class Beats:
    """One pipe for all processes of a supervisor. A beat that finds it full is dropped: many are in it already."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        for end in (self._read, self._write):
            os.set_blocking(end, False)
        self._last: dict[int, float] = {}
        self._beating = 0

    def begin(self) -> None:
        """In a process that runs tasks: beat now, and then for as long as the process lives."""
        if self._beating != os.getpid():
            self._beating = os.getpid()
            self._beat()
            threading.Thread(target=self._beat_for_ever, name="beats", daemon=True).start()

    def _beat_for_ever(self) -> None:
        while True:
            time.sleep(BEAT_EVERY)
            self._beat()

    def _beat(self) -> None:
        with suppress(BlockingIOError, BrokenPipeError):
            os.write(self._write, NUMBER.pack(os.getpid()))

    def collect(self) -> None:
        """In the supervisor: a beat counts from when it is read, so that a pause of the supervisor is nobody's."""
        now = time.monotonic()
        self._last = {pid: at for pid, at in self._last.items() if now - at < REMEMBERED}
        with suppress(BlockingIOError):
            while data := os.read(self._read, READ):
                self._last.update((pid, now) for (pid,) in NUMBER.iter_unpack(data))

    def silence(self, pid: int) -> float:
        """Seconds since the last beat of a process, or since the first question about it."""
        now = time.monotonic()
        return now - self._last.setdefault(pid, now)
