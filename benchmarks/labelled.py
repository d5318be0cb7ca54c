"""Data sets for `relevance`: texts to be found, and questions of which it is known what answers them.

* CSV with a header, `text,label` or the like: what has the question's label answers it (intents: Banking77, CLINC150).
* JSON lines with the same names, `{"text": ..., "label": ...}`.
* JSON lines with judgements: `{"id": ..., "text": ...}` is a text, `{"query": ..., "relevant": [ids]}` a question.

Questions come from a file of their own. Of labelled texts without one, a tenth is held out and asked.
"""

from __future__ import annotations

import csv
import json
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TEXT = ("text", "utterance", "sentence", "question", "query", "content")
LABEL = ("label", "category", "intent", "class", "topic", "label_text")
HELD_OUT = 10  # one of so many


@dataclass(frozen=True)
class Question:
    query: str
    relevant: frozenset[str]


@dataclass(frozen=True)
class Names:
    """Where text and label stand, if that was said."""

    text: str | None = None
    label: str | None = None

    def of(self, one: dict[str, Any]) -> tuple[str, str]:
        text = next((name for name in ((self.text,) if self.text else TEXT) if name in one), None)
        label = next((name for name in ((self.label,) if self.label else LABEL) if name in one), None)
        if text is None or label is None:
            there = ", ".join(map(str, one))
            raise ValueError(f"There is no text and label among {there}: name them with --text and --label.")
        return str(one[text]), str(one[label])


def read(  # noqa: PLR0913  keyword-only, one per option
    data: Path, queries: Path | None = None, *, text: str | None = None, label: str | None = None,
    limit: int | None = None, questions: int | None = None, seed: int = 1,
) -> tuple[dict[str, str], list[Question]]:  # fmt: skip
    """The texts by id, and the questions that they can answer."""
    dice, names = random.Random(seed), Names(text, label)
    found, asked = list(lines(data)), list(lines(queries)) if queries else None
    if not found:
        raise ValueError(f"{data} is empty.")
    if any("query" in one and "relevant" in one for one in (*found, *(asked or ()))):
        texts, told = _judged([*found, *(asked or [])], limit)
    else:
        texts, told = _labelled(found, asked, names, dice, limit)
    known = [Question(one.query, one.relevant & texts.keys()) for one in told]
    known = [one for one in known if one.relevant]
    if not known:
        raise ValueError("There is no question that one of the texts answers.")
    return texts, dice.sample(known, questions) if questions and questions < len(known) else known


def lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        if path.suffix.lower() in {".csv", ".tsv"}:
            yield from csv.DictReader(file, dialect="excel-tab" if path.suffix.lower() == ".tsv" else "excel")
        else:
            yield from (json.loads(line) for line in file if line.strip())


def _judged(found: list[dict[str, Any]], limit: int | None) -> tuple[dict[str, str], list[Question]]:
    texts = {str(one["id"]): str(one["text"]) for one in found if "query" not in one}
    asked = [Question(one["query"], frozenset(map(str, one["relevant"]))) for one in found if "query" in one]
    return dict(list(texts.items())[:limit]), asked


def _labelled(
    found: list[dict[str, Any]],
    asked: list[dict[str, Any]] | None,
    names: Names,
    dice: random.Random,
    limit: int | None,
) -> tuple[dict[str, str], list[Question]]:
    """Whatever has the label of a question answers it. A sample of the texts is drawn: files are sorted by label."""
    pairs = [names.of(one) for one in found]
    if asked is None:
        dice.shuffle(pairs)
        held = max(1, len(pairs) // HELD_OUT)
        questions, pairs = pairs[:held], pairs[held:]
    else:
        questions = [names.of(one) for one in asked]
    if limit is not None and limit < len(pairs):
        pairs = dice.sample(pairs, limit)
    labelled: dict[str, set[str]] = defaultdict(set)
    for number, (_text, label) in enumerate(pairs):
        labelled[label].add(str(number))
    answers = {label: frozenset(ids) for label, ids in labelled.items()}
    texts = {str(number): text for number, (text, _label) in enumerate(pairs)}
    return texts, [Question(text, answers.get(label, frozenset())) for text, label in questions]
