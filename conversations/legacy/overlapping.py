"""Two chunks at once: while the database checks, counts and commits the rows of one, those of the next are sent.

Each goes over a connection of its own. Rows are sent one chunk after the other, and committed one after the other; what
belongs to chats of the chunk before is not begun until that is committed (ADR 0132).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from itertools import cycle
from queue import SimpleQueue

from django.db import connection

from conversations.legacy import writing
from conversations.legacy.chunks import Chunk
from conversations.legacy.placing import Run

WRITERS = 2


class AbandonedError(Exception):
    """The chunk before was not committed: this one is written again, behind it."""


class Flight(writing.Course):
    """A chunk on its way into the log, behind another one that may be on its way, too."""

    patience = (
        "10s"  # PostgreSQL sees no deadlock where one end is a thread of ours: who waits so long tries again alone
    )

    def __init__(self, chunk: Chunk, before: Flight | None) -> None:
        self.chunk, self.before = chunk, before
        self._sent = threading.Event()
        self.committed: Future[None] = Future()

    def write(self, run: Run) -> None:
        """One try; how it ended is told to whoever waits for it."""
        try:
            if self.before and self.before.chunk.meets(self.chunk):
                self.turn()
            writing.once(run, self.chunk, self)
        except BaseException as error:  # told in the thread that asked
            self.committed.set_exception(error)
        else:
            self.committed.set_result(None)
        finally:
            self._sent.set()
            self.before = None

    def prepared(self) -> None:
        if self.before:
            self.before._sent.wait()

    def sent(self) -> None:
        self._sent.set()

    def turn(self) -> None:
        if self.before and self.before.committed.exception():
            raise AbandonedError


Line = SimpleQueue[Flight | None]


def written(run: Run, pieces: Iterator[Chunk]) -> Iterator[Chunk]:
    """Write them all; each is told when it is committed."""
    flying: deque[Flight] = deque()
    with _writers(run) as lines:
        for piece, line in zip(pieces, cycle(lines), strict=False):
            flight = Flight(piece, flying[-1] if flying else None)
            line.put(flight)
            flying.append(flight)
            if len(flying) == WRITERS:
                yield from _landed(run, flying)
        while flying:
            yield from _landed(run, flying)


def _landed(run: Run, flying: deque[Flight]) -> Iterator[Chunk]:
    """The oldest, when it is committed. Where it was not, it and the one behind it are written once more, alone."""
    oldest = flying.popleft()
    failed = oldest.committed.exception()
    if failed is None:
        yield oldest.chunk
        return
    behind = [flight.chunk for flight in flying if flight.committed.exception()]  # waits until it has given up
    flying.clear()
    if not isinstance(failed, Exception):
        raise failed
    writing.write(run, oldest.chunk, failed)
    yield oldest.chunk
    for chunk in behind:
        writing.write(run, chunk)
        yield chunk


@contextmanager
def _writers(run: Run) -> Iterator[list[Line]]:
    """A line for each connection; what is on its way lands before the import ends, however it ends."""
    lines: list[Line] = [SimpleQueue() for _ in range(WRITERS)]
    threads = [
        threading.Thread(target=_write, args=(run, line), name=f"import-writer-{number}", daemon=True)
        for number, line in enumerate(lines)
    ]
    for thread in threads:
        thread.start()
    try:
        yield lines
    finally:
        for line in lines:
            line.put(None)
        for thread in threads:
            thread.join()


def _write(run: Run, line: Line) -> None:
    try:
        while flight := line.get():
            flight.write(run)
            del flight  # and its rows, while the next is waited for
    finally:
        connection.close()
