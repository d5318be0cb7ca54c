"""Rounds that take turns, peers in their own environment, and pgbench: what every benchmark needs."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from config.database import binaries

ROOT = Path(__file__).resolve().parents[1]
PEER_PYTHON = ROOT / ".venv-bench" / "bin" / "python"

Row = dict[str, Any]


def medians(contestants: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Let everybody run in every round, so that a busy minute hits all; the first round warms up and is dropped."""
    results: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name, measure in contestants.items():
            value = measure()
            if number:
                results[name].append(value)
    return {name: statistics.median(values) for name, values in results.items()}


def row(name: str, value: float, unit: str, reach: str = "", peer: str = "") -> Row:
    return {"name": name, "value": round(value, 3), "unit": unit, "reach": reach, "peer": peer}


def peers_are_there() -> bool:
    """`make bench` installs them in an environment of their own; the quick runs of the suite go without."""
    return PEER_PYTHON.exists()


@contextmanager
def peer(script: str) -> Iterator[Callable[[int], float]]:
    """A peer's process: given a number of operations it answers how many it did in a second."""
    if not peers_are_there():
        raise SystemExit("The peers are not installed: run `make bench`.")
    command = [str(PEER_PYTHON), str(ROOT / "benchmarks" / "peers" / f"{script}.py"), os.environ["DATABASE_URL"]]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin
    assert process.stdout

    def run(operations: int) -> float:
        assert process.stdin
        assert process.stdout
        process.stdin.write(f"{operations}\n")
        process.stdin.flush()
        return operations / float(process.stdout.readline())

    try:
        yield run
    finally:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()


def pgbench(statement: str, transactions: int) -> float:
    """Transactions a second of one statement, prepared, on one connection."""
    place = urlsplit(os.environ["DATABASE_URL"])
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(" ".join(statement.split()) + ";\n")
        script.flush()
        command = [str(binaries() / "pgbench"), "-n", "-M", "prepared", "-t", str(transactions), "-f", script.name]
        command += ["-h", unquote(place.hostname or ""), "-p", str(place.port or 5432), "-U", place.username or ""]
        done = subprocess.run([*command, place.path[1:]], capture_output=True, text=True, check=True)
    found = re.search(r"tps = ([\d.]+)", done.stdout)
    assert found, done.stdout
    return float(found.group(1))
