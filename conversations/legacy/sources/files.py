"""A file of the old world: read as text, block by block, and never written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from conversations.legacy.errors import SourceUnreachableError
from conversations.legacy.json_stream import BrokenJsonError, JsonStream
from conversations.legacy.records import Broken, Chat, Found, Place
from conversations.legacy.sources.source import Options
from conversations.models import RejectReason


class JsonFile:
    """What the formats have in common. A place is the number of an item in the file, and a position in the item."""

    kind = ""

    def __init__(self, path: Path, options: Options) -> None:
        self.path, self.options = path, options
        self.origin = f"file {path.name}"
        self.name = [self.kind, path.name]
        self._item, self._position, self._bytes = -1, -1, 0
        self._broken: int | None = None  # where it breaks, once that was told

    @property
    def place(self) -> Place:
        place = {"item": self._item, "position": self._position}
        return place if self._broken is None else {**place, "broken": self._broken}

    @property
    def done(self) -> int:
        return self._bytes

    def total(self) -> int | None:
        return self.path.stat().st_size

    def read(self, after: Place | None) -> Iterator[Found]:
        """Everything up to where the file breaks; what is behind that is one reject, and the report says so."""
        first, skip = (after or {}).get("item", 0), (after or {}).get("position", -1)
        with opened(self.path) as file:
            stream = JsonStream(file)
            try:
                for found in self.walk(stream, max(0, first), skip):
                    self._bytes = file.buffer.tell()
                    yield found
            except BrokenJsonError as error:
                if error.at == (after or {}).get("broken"):
                    return
                self._broken = error.at
                yield Broken(RejectReason.BROKEN_JSON, f"character {error.at}", f"{error}; nothing behind it was read")

    def walk(self, stream: JsonStream, first: int, skip: int) -> Iterator[Found]:
        raise NotImplementedError

    def passed(self, item: int, found: list[Found] | Iterator[Found], skip: int) -> Iterator[Found]:
        """What an item holds, behind a position; a chat itself is told each time."""
        self._item, self._position = item, -1
        for one in found:
            if not isinstance(one, Chat):
                self._position += 1
                if self._position <= skip:
                    continue
            yield one


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Bytes that are no UTF-8 become what cannot be stored, and are repaired as such."""
    try:
        file: IO[str] = path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")
    except OSError as error:
        raise SourceUnreachableError(f"The file cannot be read: {error.strerror}: {path}") from error
    with file:
        yield file


def key_of(*parts: Any) -> str:
    """A composite key: a JSON array, so that no separator makes two alike."""
    return json.dumps(parts, default=str)
