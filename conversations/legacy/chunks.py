"""A source in pieces that fit a transaction, the next one made ready while the last is being written."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from queue import Empty, Full, Queue

from conversations.legacy.cleaning import Rules, clean
from conversations.legacy.people import as_number
from conversations.legacy.records import Chat, Clean, Item, Place, Record
from conversations.legacy.sources import Source

ITEMS = 10_000
CHARACTERS = 2_000_000
MORE = 1.25  # times as many, until a conversation has ended: what shares none can be written beside what came before
POLL = 0.2  # seconds until a thread sees that nobody listens any more


@dataclass
class Chunk:
    """What is written in one transaction, and the place behind it."""

    items: list[Item]
    place: Place
    done: int

    @cached_property
    def chats(self) -> dict[str, Chat]:
        """Every chat of the chunk by its key."""
        found: dict[str, Chat] = {}
        for item in self.items:
            chat = item if isinstance(item, Chat) else item.chat
            if chat is not None and chat.key not in found:
                found[chat.key] = chat
        return found

    @cached_property
    def numbers(self) -> set[int]:
        """Chats as their channel numbers them: several conversations may be about one, and one of them goes on."""
        return {number for chat in self.chats.values() if (number := as_number(chat.chat_id)) is not None}

    def meets(self, other: Chunk) -> bool:
        """Could one of them need a row that the other one holds?"""
        return not (self.chats.keys().isdisjoint(other.chats) and self.numbers.isdisjoint(other.numbers))


def chunks(source: Source, rules: Rules, after: Place | None, *, most: int = ITEMS) -> Iterator[Chunk]:
    """Everything behind a place, in order, where it can be divided between two conversations."""
    items: list[Item] = []
    size, full = 0, None
    for found in source.read(after):
        item = clean(found, rules) if isinstance(found, Record) else found
        if full and _key(item) != _key(items[-1]):
            yield full
            items, size, full = [], 0, None
        items.append(item)
        size += len(item.content) + len(item.metadata) if isinstance(item, Clean) else 200
        if full or len(items) >= most or size >= CHARACTERS:
            full = Chunk(items, source.place, source.done)
            if len(items) >= MORE * most or size >= MORE * CHARACTERS:
                yield full
                items, size, full = [], 0, None
    if items:
        yield Chunk(items, source.place, source.done)


def _key(item: Item) -> str | None:
    chat = item if isinstance(item, Chat) else item.chat
    return chat.key if chat else None


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
