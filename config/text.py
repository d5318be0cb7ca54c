"""Text that somebody else wrote, made safe to look at: what cannot be seen is shown, what turns around is held."""

from __future__ import annotations

import re
from dataclasses import dataclass

# Control characters but tab and newline, marks and overrides of direction, spaces without width. Not the joiners: emoji
# and several scripts need them.
UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)


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


def plain(text: str) -> str:
    """One line with every invisible character spelled out."""
    return " ".join(UNSEEN.sub(lambda match: f"⟨{_name(match[0])}⟩", text).split())


def _name(character: str) -> str:
    return f"U+{ord(character):04X}"
