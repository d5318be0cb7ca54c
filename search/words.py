"""What somebody typed, as a question for PostgreSQL's full text. No text makes an error, and none is an operator by
accident: what reaches `tsquery` has passed through PostgreSQL's own parser of plain text.

    moving "new flat" -hotel pack   ->  moving & (new <-> flat) & !hotel & (pack | pack:*)
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection

from config.text import stream_safe

CONFIGURATION = "russian"  # stems Latin words as `english` does
MOST_WORDS = 30
SHORTEST_PREFIX = 3  # a shorter one is half the dictionary
LONGEST_WORD = 200

QUOTED = re.compile(r"""(?P<not>(?<!\S)-)?(?:"(?P<plain>[^"]*)"|«(?P<angled>[^»]*)»|“(?P<curly>[^”]*)”)""")
WORD = re.compile(r"\w+", re.UNICODE)
UNSEARCHABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Asked:
    """The parts of a question."""

    words: tuple[str, ...]  # any order
    phrases: tuple[str, ...]  # exactly so
    without: tuple[str, ...]  # words and phrases that must not occur
    last: str  # of the words, if it may be unfinished

    @property
    def meaning(self) -> str:
        """What an embedder is asked: all that is wanted."""
        return " ".join([*self.words, *self.phrases]).strip()


def normalised(text: str) -> str:
    """One form for what looks the same; what cannot be seen is not looked for."""
    return unicodedata.normalize("NFC", stream_safe(UNSEARCHABLE.sub("", text)))


def parse(text: str) -> Asked:
    """Quotes hold phrases, a minus before a word or a phrase excludes it; everything else is plain words."""
    text = normalised(text)
    phrases: list[str] = []
    without: list[str] = []
    for match in QUOTED.finditer(text):
        phrase = (match["plain"] or match["angled"] or match["curly"] or "").strip()
        if phrase:
            (without if match["not"] else phrases).append(phrase)
    rest = QUOTED.sub(" ", text)
    words = []
    for word in rest.split():
        if len(word) > 1 and word.startswith("-") and WORD.search(word):
            without.append(word[1:])
        else:
            words.append(word)
    words = [word[:LONGEST_WORD] for word in words[:MOST_WORDS]]
    unfinished = bool(words) and not rest[-1:].isspace() and rest.rstrip().endswith(words[-1])
    last = words[-1] if unfinished and len(words[-1]) >= SHORTEST_PREFIX and WORD.fullmatch(words[-1]) else ""
    return Asked(tuple(words), tuple(phrases[:MOST_WORDS]), tuple(without[:MOST_WORDS]), last)


@dataclass(frozen=True, slots=True)
class Question:
    """The same as tsquery texts, each "" where it asks for nothing."""

    strict: str = ""  # all of it
    required: str = ""  # phrases alone: vectors have to obey them, too
    excluded: str = ""  # what must not be there, not negated
    terms: tuple[str, ...] = ()  # each word by itself

    @property
    def lexemes(self) -> tuple[str, ...]:
        """For people: what was looked for."""
        found = re.findall(r"'((?:[^']|'')*)'(:\*)?", f"{self.strict} {' '.join(self.terms)}")
        return tuple(dict.fromkeys(lexeme.replace("''", "'") + ("*" if prefix else "") for lexeme, prefix in found))


# The empty query is the neutral element of && and ||, so stop words simply fall out.
TRANSLATE = """
WITH folded AS (
    SELECT %(words)s::text[] AS words, %(phrases)s::text[] AS phrases, %(without)s::text[] AS without
), terms AS (
    SELECT n, CASE WHEN %(prefix)s <> '' AND n = cardinality(words)
        THEN plainto_tsquery('russian', word) || %(prefix)s::tsquery ELSE plainto_tsquery('russian', word) END AS query
    FROM folded, unnest(words) WITH ORDINALITY AS w (word, n)
)
SELECT
    (SELECT coalesce(jsonb_agg(query::text ORDER BY n), '[]') FROM terms WHERE numnode(query) > 0),
    (SELECT coalesce(jsonb_agg(q::text ORDER BY n), '[]')
        FROM folded, unnest(phrases) WITH ORDINALITY AS p (phrase, n), phraseto_tsquery('russian', phrase) AS q
        WHERE numnode(q) > 0),
    (SELECT coalesce(jsonb_agg(q::text ORDER BY n), '[]')
        FROM folded, unnest(without) WITH ORDINALITY AS p (phrase, n), phraseto_tsquery('russian', phrase) AS q
        WHERE numnode(q) > 0)
"""


def translate(asked: Asked) -> Question:
    """Let PostgreSQL find the lexemes."""
    if not (asked.words or asked.phrases or asked.without):
        return Question()
    values: dict[str, Any] = {
        "words": _folded(asked.words),
        "phrases": _folded(asked.phrases),
        "without": _folded(asked.without),
        "prefix": _prefix(asked.last),
    }
    with connection.cursor() as cursor:
        cursor.execute(TRANSLATE, values)
        terms, phrases, without = (_parsed(column) for column in cursor.fetchone())
    return Question(
        strict=_joined([*terms, *phrases], "&"),
        required=_joined(phrases, "&"),
        excluded=_joined(without, "|"),
        terms=tuple(dict.fromkeys([*terms, *phrases])),
    )


def _parsed(column: str | list[str]) -> list[str]:
    found: list[str] = json.loads(column) if isinstance(column, str) else column
    return found


def _folded(texts: Sequence[str]) -> list[str]:
    return [text.translate(str.maketrans("ёЁ", "еЕ")) for text in texts]


def _prefix(word: str) -> str:
    """A tsquery by hand, so only of letters and digits."""
    [word] = _folded([word.lower()])
    return f"'{word}':*" if word and WORD.fullmatch(word) else ""


def _joined(queries: Sequence[str], operator: str) -> str:
    return f" {operator} ".join(f"({query})" for query in queries)
