"""One line being written: keys in, text and cursor out. Knows no terminal, so that every key can be tested."""

from __future__ import annotations

import codecs
import re
import unicodedata
from dataclasses import dataclass, field
from enum import Enum

PASTE, PASTED = "\x1b[200~", "\x1b[201~"
ESCAPE = re.compile(r"\x1b(?:\[[0-9;?]*[@-~]|O[A-Z]|[^\[O])")  # a key that is several characters
UNFINISHED = re.compile(r"\x1b(?:\[[0-9;?]*|O)?\Z")
JOINERS = "\u200d\ufe0f"


class Asked(Enum):
    """What a key asks for beside the line itself."""

    QUIT = "quit"
    CLEAR_SCREEN = "clear screen"


@dataclass
class Editor:
    """Text, cursor, and the lines sent before."""

    text: str = ""
    cursor: int = 0
    sent: list[str] = field(default_factory=list)
    _decoder: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")(errors="replace")
    )
    _rest: str = ""  # the beginning of a key whose end has not come yet
    _pasting: bool = False
    _at: int = 0  # how far back in `sent` we are; 0 is the line being written

    def feed(self, data: bytes) -> list[str | Asked]:
        """Take what the keyboard sent; the lines that were finished, and what else was asked for, in order."""
        keys, self._rest = _split(self._rest + self._decoder.decode(data))
        done: list[str | Asked] = []
        for key in keys:
            if (came := self._press(key)) is not None:
                done.append(came)
        return done

    def _press(self, key: str) -> str | Asked | None:  # noqa: PLR0911  one line per kind of key
        if key in (PASTE, PASTED):
            self._pasting = key == PASTE
            return None
        if self._pasting:
            self._insert("\n" if key == "\r" else key if len(key) == 1 else "")
            return None
        if key in "\r\n":
            return self._finish()
        if key == "\x03" or (key == "\x04" and not self.text):  # Ctrl-C, Ctrl-D
            if key == "\x04" or not self.text:
                return Asked.QUIT
            self._set("")
            return None
        if key == "\x0c":
            return Asked.CLEAR_SCREEN
        if key in KEYS:
            KEYS[key](self)
        elif len(key) == 1 and (key == "\t" or unicodedata.category(key) != "Cc"):
            self._insert(" " if key == "\t" else key)
        return None

    def _insert(self, letters: str) -> None:
        self.text = self.text[: self.cursor] + letters + self.text[self.cursor :]
        self.cursor += len(letters)

    def _finish(self) -> str:
        line = self.text
        if line.strip() and line not in self.sent[-1:]:
            self.sent.append(line)
        self._at = 0
        self._set("")
        return line

    def _set(self, text: str) -> None:
        self.text, self.cursor = text, len(text)

    # --- keys ---
    def left(self) -> None:
        self.cursor = _before(self.text, self.cursor)

    def right(self) -> None:
        self.cursor = _after(self.text, self.cursor)

    def home(self) -> None:
        self.cursor = 0

    def end(self) -> None:
        self.cursor = len(self.text)

    def backspace(self) -> None:
        start = _before(self.text, self.cursor)
        self.text, self.cursor = self.text[:start] + self.text[self.cursor :], start

    def delete(self) -> None:
        self.text = self.text[: self.cursor] + self.text[_after(self.text, self.cursor) :]

    def cut_word(self) -> None:
        kept = re.sub(r"\S+\s*\Z", "", self.text[: self.cursor])
        self.text, self.cursor = kept + self.text[self.cursor :], len(kept)

    def cut_before(self) -> None:
        self.text, self.cursor = self.text[self.cursor :], 0

    def cut_after(self) -> None:
        self.text = self.text[: self.cursor]

    def older(self) -> None:
        if self._at < len(self.sent):
            self._at += 1
            self._set(self.sent[-self._at])

    def newer(self) -> None:
        if self._at:
            self._at -= 1
            self._set(self.sent[-self._at] if self._at else "")


KEYS = {
    "\x1b[D": Editor.left, "\x1bOD": Editor.left, "\x02": Editor.left,
    "\x1b[C": Editor.right, "\x1bOC": Editor.right, "\x06": Editor.right,
    "\x1b[A": Editor.older, "\x1bOA": Editor.older, "\x10": Editor.older,
    "\x1b[B": Editor.newer, "\x1bOB": Editor.newer, "\x0e": Editor.newer,
    "\x1b[H": Editor.home, "\x1bOH": Editor.home, "\x1b[1~": Editor.home, "\x01": Editor.home,
    "\x1b[F": Editor.end, "\x1bOF": Editor.end, "\x1b[4~": Editor.end, "\x05": Editor.end,
    "\x7f": Editor.backspace, "\x08": Editor.backspace, "\x1b[3~": Editor.delete, "\x04": Editor.delete,
    "\x17": Editor.cut_word, "\x15": Editor.cut_before, "\x0b": Editor.cut_after,
}  # fmt: skip


def width(text: str) -> int:
    """Columns a terminal needs for it, as nearly as can be known without asking the terminal."""
    return sum(_columns(letter) for letter in text)


def fitting(text: str, cursor: int, columns: int) -> tuple[str, str]:
    """What of the line is shown before and behind the cursor, where all of it has no room."""
    before, behind = text[:cursor], text[cursor:]
    while width(before) > max(1, columns - 1):
        before = before[1:]
    room = columns - width(before) - 1
    while width(behind) > max(0, room):
        behind = behind[:-1]
    return before, behind


def _columns(letter: str) -> int:
    if unicodedata.combining(letter) or letter in JOINERS or unicodedata.category(letter) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def _split(text: str) -> tuple[list[str], str]:
    """Keys, and what may be the beginning of another."""
    keys: list[str] = []
    position = 0
    while position < len(text):
        found = ESCAPE.match(text, position)
        if found is None and UNFINISHED.match(text, position):
            return keys, text[position:]
        key = found[0] if found else text[position]
        keys.append(key)
        position += len(key)
    return keys, ""


def _before(text: str, cursor: int) -> int:
    """Where the character left of the cursor begins, with all that is drawn onto it."""
    start = max(0, cursor - 1)
    while start > 0 and (_columns(text[start]) == 0 or text[start - 1] == "\u200d"):
        start -= 1
    return start


def _after(text: str, cursor: int) -> int:
    end = min(len(text), cursor + 1)
    while end < len(text) and (_columns(text[end]) == 0 or text[end - 1] == "\u200d"):
        end += 1
    return end
