"""Two texts side by side, line by line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import zip_longest

from config.text import Piece, pieces


@dataclass(frozen=True)
class Row:
    """A line of the old text beside one of the new; `kind` is empty where they are the same."""

    kind: str
    old: list[Piece]
    new: list[Piece]


def side_by_side(old: str, new: str) -> list[Row]:
    """Every line of both; what belongs together stands in one row."""
    before, after = old.splitlines(), new.splitlines()
    return list(_rows(before, after))


def _rows(before: list[str], after: list[str]) -> Iterator[Row]:
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        kind = "" if tag == "equal" else "changed"
        for left, right in zip_longest(before[i1:i2], after[j1:j2], fillvalue=""):
            yield Row(kind, pieces(left), pieces(right))
