"""Do the right texts come first? Labelled questions on the demo's talks, or on a file of yours.

`python -m benchmarks.relevance --data FILE [--limit N]` takes one JSON object a line: `{"id": ..., "text": ...}` is a
text, `{"query": ..., "relevant": [ids]}` a question. Precision is counted among as many hits as there are relevant
texts, at most ten, so that 1.0 can be reached by every question.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from benchmarks.rounds import Row, row

QUESTIONS = Path(__file__).parent / "data" / "questions.jsonl"
DEPTH = 10


@dataclass(frozen=True)
class Question:
    query: str
    relevant: frozenset[str]


def run(quick: bool = False) -> list[Row]:
    questions = [Question(one["query"], frozenset(one["relevant"])) for one in lines(QUESTIONS)]
    return measure(dict(told()), questions[:8] if quick else questions)


def measure(texts: dict[str, str], questions: list[Question]) -> list[Row]:
    """Index the texts as messages of one conversation and ask every question in every mode."""
    from search.query import search

    ids = indexed(texts)
    scores: dict[str, list[float]] = {}
    for question in questions:
        for mode in ("hybrid", "vector", "keyword"):
            hits = search(question.query, mode=mode, limit=DEPTH).hits
            scores.setdefault(mode, []).append(precision([ids[hit.entity_id] for hit in hits], question.relevant))
    means = {mode: statistics.mean(values) for mode, values in scores.items()}
    better = max(means["vector"], means["keyword"])
    return [
        row(f"precision@10, hybrid ({len(questions)} questions)", means["hybrid"], ""),
        row("precision@10, by meaning", means["vector"], ""),
        row("precision@10, by words", means["keyword"], ""),
        row("hybrid beside the better of the two", means["hybrid"] / better, "x", ">= 1.0", "single mode"),
    ]


def precision(found: list[str], relevant: frozenset[str]) -> float:
    """Of the first places that could all be right, how many are."""
    places = min(DEPTH, len(relevant))
    return len(relevant.intersection(found[:places])) / places


def told() -> Iterator[tuple[str, str]]:
    """The lines of the demo's talks, each named by file and place."""
    from conversations import demo

    for path in sorted(demo.TALKS.glob("*.toml")):
        for place, (_role, text) in enumerate(demo.Talk.read(path).lines()):
            yield f"{path.stem}:{place}", text


def indexed(texts: dict[str, str]) -> dict[UUID, str]:
    """What the worker does, done to its end; the name of each message's text."""
    from conversations import log, sessions
    from search import embedding, indexing, spaces

    conversation, _new = sessions.open(1)
    ids: dict[UUID, str] = {}
    named = list(texts.items())
    for start in range(0, len(named), 1_000):
        part = named[start : start + 1_000]
        entries = log.append_many(conversation.pk, [{"role": "user", "content": text} for _name, text in part])
        ids |= {entry.id: name for entry, (name, _text) in zip(entries, part, strict=True)}
    spaces.ensure_current()
    while indexing.index_batch().taken:
        pass
    while embedding.work(600):
        pass
    spaces.step()
    return ids


def lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open() as file:
        yield from (json.loads(line) for line in file if line.strip())


def read(path: Path, limit: int | None) -> tuple[dict[str, str], list[Question]]:
    texts: dict[str, str] = {}
    questions: list[Question] = []
    for one in lines(path):
        if "query" in one:
            questions.append(Question(one["query"], frozenset(map(str, one["relevant"]))))
        elif limit is None or len(texts) < limit:
            texts[str(one["id"])] = one["text"]
    known = [Question(asked.query, asked.relevant & texts.keys()) for asked in questions]
    return texts, [asked for asked in known if asked.relevant]


def shown(rows: Iterable[Row]) -> None:
    for one in rows:
        print(f"{one['value']:8.3f} {one['unit']:2} {one['name']}")


def main() -> None:
    """On a throw-away server, with the embedder of the settings."""
    parser = argparse.ArgumentParser(prog="benchmarks.relevance", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="FILE")
    parser.add_argument("--limit", type=int, help="only so many texts, and the questions they answer")
    chosen = parser.parse_args()
    import os

    from config.database import throwaway

    with throwaway() as cluster:
        os.environ |= {"DATABASE_URL": cluster.url, "DJANGO_SETTINGS_MODULE": "config.settings", "LOG_LEVEL": "WARNING"}
        import django
        from django.core.management import call_command
        from django.db import connections

        django.setup()
        call_command("migrate", verbosity=0)
        shown(measure(*read(chosen.data, chosen.limit)))
        connections.close_all()


if __name__ == "__main__":
    main()
