"""Cutting long texts: at sentence borders, so that a vector means one thing and a snippet reads well."""

from __future__ import annotations

import re
import unicodedata

from config.text import stream_safe

LONGEST = 900  # characters; about what a small model reads in one piece
INDEXED = 1_000_000  # characters of one thing: what comes behind them is not indexed

SENTENCE = re.compile(r"(?<=[.!?…。！？])[\"'»”)\]]*\s+|\n+")
SPACE = re.compile(r"\s*")
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def normalised(text: str) -> str:
    """One form for what looks the same; what PostgreSQL cannot store is left out, and what is too long."""
    return unicodedata.normalize("NFC", stream_safe(UNSTORABLE.sub("", text[:INDEXED]))).strip()


def chunks(text: str, longest: int = LONGEST) -> list[str]:
    """The text in pieces of at most `longest` characters, in order; nothing but white space is lost between them."""
    text = normalised(text)
    if len(text) <= longest:
        return [text] if text else []
    packed: list[str] = []
    start = end = 0  # of the piece being packed
    for border in [*(match.end() for match in SENTENCE.finditer(text)), len(text)]:
        if border - start > longest and end > start:
            packed += _fitting(text, start, end, longest)
            start = end
        end = border
    return packed + _fitting(text, start, len(text), longest)


def _fitting(text: str, start: int, end: int, longest: int) -> list[str]:
    """A sentence that is too long is cut between words, a word that is too long anywhere."""
    found = []
    start = _after_space(text, start)
    while end - start > longest:
        cut = max(text.rfind(space, start + longest // 2, min(start + longest + 1, end)) for space in (" ", "\n", "\t"))
        cut = cut if cut > start else start + longest
        found.append(text[start:cut].rstrip())
        start = _after_space(text, cut)
    piece = text[start:end].rstrip()
    return [*found, piece] if piece else found


def _after_space(text: str, position: int) -> int:
    match = SPACE.match(text, position)
    return match.end() if match else position
