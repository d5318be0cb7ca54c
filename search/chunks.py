"""Cutting long texts: at sentence borders, so that a vector means one thing and a snippet reads well."""

from __future__ import annotations

import re
import unicodedata

LONGEST = 900  # characters; about what a small model reads in one piece
MOST = 2_000  # chunks of one thing: whatever comes behind them is not indexed

SENTENCE = re.compile(r"(?<=[.!?…。！？])[\"'»”)\]]*\s+|\n+")
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def normalised(text: str) -> str:
    """One form for what looks the same; what PostgreSQL cannot store is left out."""
    return unicodedata.normalize("NFC", UNSTORABLE.sub("", text)).strip()


def chunks(text: str, longest: int = LONGEST) -> list[str]:
    """The text in pieces of at most `longest` characters, in order; nothing but white space is lost between them."""
    text = normalised(text)
    if len(text) <= longest:
        return [text] if text else []
    packed: list[str] = []
    start = end = 0  # of the piece being packed
    for border in [*(match.end() for match in SENTENCE.finditer(text)), len(text)]:
        if border - start > longest and end > start:
            packed += _fitting(text[start:end], longest)
            start = end
        end = border
    packed += _fitting(text[start:], longest)
    return packed[:MOST]


def _fitting(piece: str, longest: int) -> list[str]:
    """A sentence that is too long is cut between words, a word that is too long anywhere."""
    found = []
    piece = piece.strip()
    while len(piece) > longest:
        cut = max(piece.rfind(space, longest // 2, longest + 1) for space in (" ", "\n", "\t"))
        cut = cut if cut > 0 else longest
        found.append(piece[:cut].rstrip())
        piece = piece[cut:].lstrip()
    return [*found, piece] if piece else found
