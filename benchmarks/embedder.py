"""The local embedder on one core: sentences a second, and the first vector of a process."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

from benchmarks.rounds import ROOT, Row, medians, row

FIRST = """
import time
started = time.perf_counter()
from search.embedders.local import LocalEmbedder
embedder = LocalEmbedder()
embedder.embed(["relocation stress"], query=True)
first = time.perf_counter() - started
embedder.embed(["trouble with the landlord"], query=True)
print(first, time.perf_counter() - started - first)
"""


def run(quick: bool = False) -> list[Row]:
    from conversations import demo
    from search.embedders.local import LocalEmbedder

    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    talks = [demo.Talk.read(path) for path in sorted(demo.TALKS.glob("*.toml"))]
    english = [text for talk in talks if talk.agent != "pereezd" for _role, text in talk.lines()]
    english = english[:32] if quick else english
    embedder, rounds = LocalEmbedder(), 1 if quick else 7

    def sentences() -> float:
        started = time.perf_counter()
        for start in range(0, len(english), embedder.batch):
            embedder.embed(english[start : start + embedder.batch])
        return len(english) / (time.perf_counter() - started)

    def question() -> float:
        started = time.perf_counter()
        embedder.embed(["who could not sleep before the move?"], query=True)
        return 1000 * (time.perf_counter() - started)

    found = medians({"sentences": sentences, "question": question}, rounds)
    first = statistics.median(fresh()[0] for _ in range(1 if quick else 5))
    return [
        row("local embedder, one core", found["sentences"], "sentences/s", ">= 60"),
        row("vector of one question", found["question"], "ms"),
        row("first vector of a fresh process", first, "s", "<= 1.0"),
    ]


def fresh() -> tuple[float, float]:
    """Seconds of the first and of the second vector in a process that has loaded Django and nothing of ours."""
    code = f"import django; django.setup(){FIRST}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    first, second = map(float, done.stdout.split())
    return first, second
