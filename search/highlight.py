"""The telling part of a hit, with its matches marked: as pieces of text, so that nothing in it can be markup.

PostgreSQL's own headline drops what looks like a tag, so words are compared here, by the lexemes PostgreSQL gives them.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Sequence

from django.db import connection

from search.results import Segment

WORD = re.compile(r"\w+", re.UNICODE)
LENGTH = 240  # characters of a snippet
BEFORE = 60  # characters shown before the first match

LEXEMES = """
SELECT coalesce(jsonb_object_agg(word, tsvector_to_array(to_tsvector('russian', translate(word, 'ёЁ', 'еЕ')))), '{}')
FROM unnest(%s::text[]) AS word
"""


def plainly(texts: Sequence[str], asked: Sequence[str]) -> list[tuple[Segment, ...]]:
    """The same without asking PostgreSQL: only words that are written alike are marked."""
    wanted = {_folded(word) for word in asked}
    matching = {match[0] for text in texts for match in WORD.finditer(text) if _folded(match[0]) in wanted}
    return [_snippet(text, matching) for text in texts]


def snippets(texts: Sequence[str], lexemes: Sequence[str]) -> list[tuple[Segment, ...]]:
    """One for each text: around its densest matches, or its beginning where nothing matches."""
    prefixes = tuple(lexeme[:-1] for lexeme in lexemes if lexeme.endswith("*"))
    whole = {lexeme for lexeme in lexemes if not lexeme.endswith("*")}
    starts = tuple({_folded(lexeme)[:2] for lexeme in [*whole, *prefixes]})
    words = {match[0] for text in texts for match in WORD.finditer(text) if _folded(match[0]).startswith(starts)}
    matching = _matching(words, whole, prefixes) if starts and words else set()
    return [_snippet(text, matching) for text in texts]


def _matching(words: set[str], whole: set[str], prefixes: tuple[str, ...]) -> set[str]:
    """Those whose lexemes are looked for; stemming leaves the first two letters alone, so few words are asked about."""
    with connection.cursor() as cursor:
        cursor.execute(LEXEMES, [[word for word in words if len(word) <= 200]])
        (found,) = cursor.fetchone()
    stems: dict[str, list[str]] = json.loads(found) if isinstance(found, str) else found
    return {
        word
        for word in words
        if (prefixes and _folded(word).startswith(prefixes)) or not whole.isdisjoint(stems.get(word) or ())
    }


def _snippet(text: str, matching: set[str]) -> tuple[Segment, ...]:
    marks = [match.span() for match in WORD.finditer(text) if match[0] in matching]
    start = _start(text, [begin for begin, _end in marks])
    end = min(len(text), start + LENGTH)
    if end < len(text):
        end = max(text.rfind(" ", start + LENGTH // 2, end), start + LENGTH // 2)
    pieces = [Segment("… ")] if start else []
    position = start
    for begin, stop in marks:
        if begin < start or stop > end:
            continue
        if begin > position:
            pieces.append(Segment(text[position:begin]))
        pieces.append(Segment(text[begin:stop], marked=True))
        position = stop
    if position < end:
        pieces.append(Segment(text[position:end]))
    if end < len(text):
        pieces.append(Segment(" …"))
    return tuple(pieces)


def _start(text: str, marks: Sequence[int]) -> int:
    """Where the window with the most matches begins, at the border of a word."""
    if not marks or len(text) <= LENGTH:
        return 0
    first = max(marks, key=lambda mark: bisect_left(marks, mark + LENGTH - BEFORE) - bisect_left(marks, mark))
    if first <= BEFORE:
        return 0
    return text.find(" ", first - BEFORE, first) + 1 or first


def _folded(word: str) -> str:
    return word.lower().replace("ё", "е")
