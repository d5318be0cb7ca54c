"""Do the right texts come first? Labelled questions on the demo's talks, or on a data set of yours.

`python -m benchmarks relevance --data FILE [--queries FILE]` takes CSV or JSON lines, as benchmarks/labelled.py tells.
Beside precision@10 stands how much of the first places is right, of as many as there are relevant texts: that can reach
1.0, and it knows the order of the ten.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from uuid import UUID

from benchmarks.labelled import Question, lines, read
from benchmarks.rounds import Row, row

QUESTIONS = Path(__file__).parent / "data" / "questions.jsonl"
MODES = ("hybrid", "vector", "keyword")
DEPTH = 10


def run(quick: bool = False) -> list[Row]:
    questions = [Question(one["query"], frozenset(one["relevant"])) for one in lines(QUESTIONS)]
    return measure(dict(told()), questions[:8] if quick else questions)


def measure(texts: dict[str, str], questions: list[Question]) -> list[Row]:
    """Index the texts as messages of one conversation and ask every question in every mode."""
    from search.query import search

    ids = indexed(texts)
    first: dict[str, list[float]] = {mode: [] for mode in MODES}
    precise: dict[str, list[float]] = {mode: [] for mode in MODES}
    ordered: dict[str, list[float]] = {mode: [] for mode in MODES}
    for question in questions:
        for mode in MODES:
            found = [ids[hit.entity_id] for hit in search(question.query, mode=mode, limit=DEPTH).hits]
            places = min(DEPTH, len(question.relevant))
            first[mode].append(len(question.relevant.intersection(found[:1])))
            precise[mode].append(len(question.relevant.intersection(found)) / DEPTH)
            ordered[mode].append(len(question.relevant.intersection(found[:places])) / places)
    means = {mode: statistics.mean(values) for mode, values in precise.items()}
    best = sum(min(DEPTH, len(question.relevant)) for question in questions) / len(questions) / DEPTH
    return [
        *(row(f"precision@1, {mode}", statistics.mean(first[mode]), "") for mode in MODES),
        *(row(f"precision@10, {mode}", means[mode], f"of {best:.3f}") for mode in MODES),
        row(
            "hybrid beside the better", means["hybrid"] / max(means["vector"], means["keyword"]), "x", ">= 1.0", "mode"
        ),
        *(row(f"first places right, {mode}", statistics.mean(ordered[mode]), "") for mode in MODES),
    ]


def told() -> Iterator[tuple[str, str]]:
    """The lines of the demo's talks, each named by file and place."""
    from conversations import demo

    for path in sorted(demo.TALKS.glob("*.toml")):
        for place, (_role, text) in enumerate(demo.Talk.read(path).lines()):
            yield f"{path.stem}:{place}", text


def indexed(texts: dict[str, str]) -> dict[UUID, str]:
    """What the worker does, done to its end; the name of each message's text."""
    from django.db import connection

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
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE search_index")  # as autovacuum does: which words are common is known from there
    return ids


def shown(rows: Iterable[Row]) -> None:
    for one in rows:
        print(f"{one['value']:8.3f} {one['unit']:2} {one['name']}")


def main(arguments: Sequence[str] | None = None) -> None:
    """On a throw-away server, with the embedder of the settings."""
    parser = argparse.ArgumentParser(prog="benchmarks relevance", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="FILE", help="texts to find, with labels or ids")
    parser.add_argument(
        "--queries", type=Path, metavar="FILE", help="questions; else those in --data, or a tenth of it"
    )
    parser.add_argument("--text", metavar="NAME", help="the column or field of the text, where it has another name")
    parser.add_argument("--label", metavar="NAME", help="the column or field of the label")
    parser.add_argument("--limit", type=int, help="only so many texts, and the questions they answer")
    parser.add_argument("--questions", type=int, help="only so many questions, drawn with --seed")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(arguments)
    try:
        texts, questions = read(
            chosen.data, chosen.queries, text=chosen.text, label=chosen.label, limit=chosen.limit,
            questions=chosen.questions, seed=chosen.seed,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(f"{len(texts):,} texts, {len(questions):,} questions", file=sys.stderr, flush=True)
    shown(served(texts, questions))


def served(texts: dict[str, str], questions: list[Question]) -> list[Row]:
    import os

    from config.database import throwaway

    with throwaway() as cluster:
        os.environ |= {"DATABASE_URL": cluster.url, "DJANGO_SETTINGS_MODULE": "config.settings", "LOG_LEVEL": "WARNING"}
        import django
        from django.core.management import call_command
        from django.db import connections

        django.setup()
        call_command("migrate", verbosity=0)
        try:
            return measure(texts, questions)
        finally:
            connections.close_all()


if __name__ == "__main__":
    main()
