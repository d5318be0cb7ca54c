"""Cutting a long text into parts a channel takes: at a paragraph if it can be, never inside a letter."""

from __future__ import annotations

import re
from collections.abc import Iterator

import regex

# Where a reader expects a pause, best first. Each match ends where a part may end.
BORDERS = (
    re.compile(r"(?=\n[^\S\n]*\n)"),  # a paragraph
    re.compile(r"(?=\n)"),  # a line
    re.compile(r"[.!?…。！？][\"'»”’)\]]*(?=\s)|[。！？]"),  # a sentence; some scripts put no space behind it
    re.compile(r"(?=\s)"),  # a word
)
CLUSTER = regex.compile(r"\X")  # what a reader sees as one letter, however many characters it is made of
SPACE = re.compile(r"\s*")
Part = tuple[int, int]


def units(text: str) -> int:
    """Its length in UTF-16 units, as Telegram counts."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def cut(text: str, limit: int) -> list[Part]:
    """Where each part begins and ends; only white space is left out, and only between the parts."""
    if units(text) <= limit:
        return [(0, len(text))]
    parts: list[Part] = []
    begin = _after_space(text, 0)
    while begin < len(text):
        end = _furthest(text, begin, limit)
        if end < len(text):
            end = _border(text, begin, end)
        last = begin + len(text[begin:end].rstrip())
        parts.append((begin, last))
        begin = _after_space(text, end)
    return parts or [(0, len(text))]


def _furthest(text: str, begin: int, limit: int) -> int:
    """As far as the limit reaches."""
    room = limit
    for position in range(begin, min(len(text), begin + limit)):
        room -= 2 if text[position] > "\uffff" else 1
        if room < 0:
            return position
    return min(len(text), begin + limit)


def _border(text: str, begin: int, end: int) -> int:
    """The last good place to stop; a border in the first half of a part would make needlessly many."""
    between = set(_cluster_starts(text, begin, end))
    half = begin + (end - begin) // 2
    window = text[begin : end + 1]  # a part may end before a space that would not fit
    for border in BORDERS:
        places = [begin + match.end() for match in border.finditer(window)]
        good = [place for place in places if half <= place <= end and place in between]
        if good:
            return good[-1]
    return max(between, default=end)  # nothing to be done for a single letter longer than the limit


def _cluster_starts(text: str, begin: int, end: int) -> Iterator[int]:
    """Of the part alone: how a run of flags is paired is counted anew from its beginning for each of them."""
    for match in CLUSTER.finditer(text[begin : end + 1]):
        if match.start():
            yield begin + match.start()


def _after_space(text: str, position: int) -> int:
    """Past the white space, but not past a space that carries a mark."""
    match = SPACE.match(text, position)
    letter = match.end() if match else position
    carried = position < letter < len(text) and len(CLUSTER.findall(text[letter - 1 : letter + 1])) == 1
    return letter - 1 if carried else letter
