"""A source in pieces that fit a transaction, the next one made ready while the last is being written."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from queue import Empty, Full, Queue

from conversations.legacy.cleaning import Rules, clean
from conversations.legacy.records import Clean, Item, Place, Record
from conversations.legacy.sources import Source

ITEMS = 20_000
CHARACTERS = 4_000_000
POLL = 0.2  # seconds until a thread sees that nobody listens any more


@dataclass(slots=True)
class Chunk:
    """What is written in one transaction, and the place behind it."""

    items: list[Item]
    place: Place
    done: int


def chunks(source: Source, rules: Rules, after: Place | None, *, most: int = ITEMS) -> Iterator[Chunk]:
    """Everything behind a place, in order."""
    items: list[Item] = []
    size = 0
    for found in source.read(after):
        item = clean(found, rules) if isinstance(found, Record) else found
        items.append(item)
        size += len(item.content) + len(item.metadata) if isinstance(item, Clean) else 200
        if len(items) >= most or size >= CHARACTERS:
            yield Chunk(items, source.place, source.done)
            items, size = [], 0
    if items:
        yield Chunk(items, source.place, source.done)


def ahead(pieces: Iterator[Chunk]) -> Iterator[Chunk]:
    """Read in a thread of its own: while PostgreSQL writes one chunk, Python has nothing to do but make the next."""
    line: Queue[Chunk | BaseException | None] = Queue(1)
    unheard = threading.Event()

    def put(what: Chunk | BaseException | None) -> None:
        while not unheard.is_set():
            try:
                line.put(what, timeout=POLL)
            except Full:
                continue
            return

    def read() -> None:
        try:
            for piece in pieces:
                put(piece)
                if unheard.is_set():
                    return
            put(None)
        except BaseException as error:  # told in the thread that asked
            put(error)

    reader = threading.Thread(target=read, name="import-reader", daemon=True)
    reader.start()
    try:
        while (piece := _next(line, reader)) is not None:
            if isinstance(piece, BaseException):
                raise piece
            yield piece
    finally:
        unheard.set()
        reader.join()
        pieces.close()  # type: ignore[attr-defined]  # a generator: its source is closed here


def _next(line: Queue[Chunk | BaseException | None], reader: threading.Thread) -> Chunk | BaseException | None:
    while True:
        try:
            return line.get(timeout=1)
        except Empty:
            if not reader.is_alive() and line.empty():
                return None
