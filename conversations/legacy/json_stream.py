"""JSON of any size, piece by piece: whoever reads says what to enter and what to take whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import IO, Any

BLOCK = 64 * 1024  # characters
LARGEST = 128 * 1024 * 1024  # characters of one value that is taken whole
NEAR_THE_END = 16  # characters: the longest piece that makes no sense without its rest, `\\ud83d\\ude` or `-Infinit`
SPACE = " \t\n\r"
decoder = json.JSONDecoder(
    strict=False, parse_constant=str
)  # NaN and Infinity are not JSON: as text they can be stored


class BrokenJsonError(ValueError):
    """The JSON ends too early, or something in it is no JSON; `at` is the character."""

    def __init__(self, why: str, at: int) -> None:
        super().__init__(f"{why} at character {at}")
        self.at = at


def loads(text: str) -> Any:
    """One whole value; whatever is wrong with it, nesting without end included, is a ValueError."""
    try:
        return decoder.decode(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


class JsonStream:
    """A cursor in a JSON text. Only the value under it is in memory."""

    def __init__(self, file: IO[str]) -> None:
        self._file, self._text, self._at, self._gone, self._ended = file, "", 0, 0, False

    @property
    def position(self) -> int:
        return self._gone + self._at

    @property
    def finished(self) -> bool:
        return self.peek() == ""

    def peek(self) -> str:
        """The next character that is no space; nothing at the end."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in SPACE:
                    return self._text[self._at]
                self._at += 1
            if not self._more(BLOCK):
                return ""

    def take(self, character: str) -> None:
        found = self.peek()
        if found != character:
            raise BrokenJsonError(f"expected {character}, found {found or 'the end'}", self.position)
        self._at += 1

    def value(self) -> Any:
        """The whole value under the cursor. Tried again with twice the text while it is not complete."""
        self.peek()
        size = BLOCK
        while True:
            try:
                value, end = decoder.raw_decode(self._text, self._at)
            except RecursionError as error:
                raise BrokenJsonError("nested too deeply", self.position) from error
            except ValueError as error:
                if not self._incomplete(error) or not self._more(size):
                    why = str(error).split(":")[0].removesuffix(" starting at")
                    raise BrokenJsonError(why, self.position) from error
                size *= 2
                continue
            if end < len(self._text) or self._ended or not self._more(BLOCK):  # a number might go on
                self._at = end
                return value

    def _incomplete(self, error: ValueError) -> bool:
        """Does only the rest miss? What is wrong far from the end stays wrong, however much follows."""
        if not isinstance(error, json.JSONDecodeError) or len(self._text) - self._at > LARGEST:
            return False
        return error.msg.startswith("Unterminated string") or error.pos > len(self._text) - NEAR_THE_END

    def members(self) -> Iterator[str]:
        """The names in an object; the reader takes or enters each value before asking for the next."""
        self.take("{")
        yield from self._parts("}", self._name)

    def elements(self) -> Iterator[int]:
        """The places in an array; the reader takes or enters each value before asking for the next."""
        self.take("[")
        count = -1

        def number() -> int:
            nonlocal count
            count += 1
            return count

        yield from self._parts("]", number)

    def _parts(self, end: str, begin: Any) -> Iterator[Any]:
        if self.peek() == end:
            self.take(end)
            return
        while True:
            yield begin()
            if self.peek() == end:
                self.take(end)
                return
            self.take(",")

    def _name(self) -> str:
        name = self.value()
        if not isinstance(name, str):
            raise BrokenJsonError("expected a name", self.position)
        self.take(":")
        return name

    def _more(self, size: int) -> bool:
        """Read on, and let go of what was read before the cursor."""
        if self._ended:
            return False
        block = self._file.read(size)
        if not block:
            self._ended = True
            return False
        self._text, self._gone, self._at = self._text[self._at :] + block, self._gone + self._at, 0
        return True
