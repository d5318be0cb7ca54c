"""Text that somebody else wrote, made safe to look at: what cannot be seen is shown, what turns around is held."""

from __future__ import annotations

import re
from dataclasses import dataclass

import regex

# Control characters but tab and newline, marks and overrides of direction, spaces without width. Not the joiners: emoji
# and several scripts need them.
UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)
MARKS = 30  # in a row, as in the Stream-Safe Text Format of UAX #15
JOINER = "\N{COMBINING GRAPHEME JOINER}"
# Whatever begins with a mark once it is decomposed; the last three are composed of marks alone.
MARK = r"[\P{ccc=0}\u0f73\u0f75\u0f81]"
LONG_RUN = regex.compile(f"({MARK}{{{MARKS}}})(?={MARK})")


def stream_safe(text: str) -> str:
    """The text with a joiner after every thirtieth mark in a row: normalising a run takes the square of its length."""
    return text if text.isascii() else LONG_RUN.sub(rf"\1{JOINER}", text)


@dataclass(frozen=True, slots=True)
class Piece:
    """Either plain text or one character that would not be seen."""

    text: str
    unseen: bool = False


def pieces(text: str) -> list[Piece]:
    """Cut the text at its invisible characters; a template shows each in its way."""
    text = text.replace("\r\n", "\n")
    found, position = [], 0
    for match in UNSEEN.finditer(text):
        if match.start() > position:
            found.append(Piece(text[position : match.start()]))
        found.append(Piece(_name(match[0]), unseen=True))
        position = match.end()
    if position < len(text):
        found.append(Piece(text[position:]))
    return found


def beginning(text: str, most: int) -> str:
    """The text up to where it has so many invisible characters: shown, each takes as much room as a word and more."""
    for number, match in enumerate(UNSEEN.finditer(text.replace("\r\n", "\n"))):
        if number == most:
            return match.string[: match.start()]
    return text


def plain(text: str) -> str:
    """One line with every invisible character spelled out."""
    return " ".join(UNSEEN.sub(lambda match: f"⟨{_name(match[0])}⟩", text).split())


def _name(character: str) -> str:
    return f"U+{ord(character):04X}"
