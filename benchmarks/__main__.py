"""`python -m benchmarks [names] [--quick]`: every number on a fresh embedded server that really writes to the disk.

A benchmark is a module here with `run(quick: bool = False) -> list[dict]`; a row is `{"name", "value", "unit", "reach",
"peer"}`, reach like ">= 1.3" or "" where the number is told without a mark. Each runs in a process and on a server of
its own. The machine may be busy: rounds are interleaved and medians compared, so ratios hold where seconds do not.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import operator
import os
import platform
import secrets
import subprocess
import sys
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
NOWHERE = "postgresql://nobody@localhost:1/nowhere"  # for what must not be asked
MARKS = {">=": operator.ge, "<=": operator.le}
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    known = names()
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(known))
    parser.add_argument("--quick", action="store_true", help="small sizes: does it run at all?")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    chosen, further = parser.parse_known_args()
    if unknown := set(chosen.names) - set(known):
        parser.error(f"no benchmark named {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    if further:
        with_options(parser, chosen.names, further)
        return
    if chosen.inside:
        inside(chosen.names[0], quick=chosen.quick)
        return
    rows, broken = [], False
    for name in chosen.names or known:
        print(f"{name} ...", file=sys.stderr, flush=True)
        measured = outside(name, quick=chosen.quick)
        broken |= measured is None
        rows += [{"benchmark": name, **row, "passed": passed(row)} for row in measured or []]
    print(table(rows))
    print(f"\nwritten to {written(rows, quick=chosen.quick)}")
    sys.exit(broken)


def with_options(parser: argparse.ArgumentParser, names: list[str], options: list[str]) -> None:
    """A benchmark with a `main` has options of its own: `relevance --data FILE`."""
    module = importlib.import_module(f"benchmarks.{names[0]}") if len(names) == 1 else None
    if module is None or not hasattr(module, "main"):
        parser.error(f"unrecognized arguments: {' '.join(options)}")
    module.main(options)


def names() -> list[str]:
    """The modules here that define `run`."""
    return [
        path.stem
        for path in sorted(HERE.glob("*.py"))
        if any(isinstance(node, ast.FunctionDef) and node.name == "run" for node in ast.parse(path.read_text()).body)
    ]


def starts_a_server(name: str) -> bool:
    """Those that kill processes and databases have a world of their own, and say `OWN_SERVER = True`."""
    assigned = [node for node in ast.parse((HERE / f"{name}.py").read_text()).body if isinstance(node, ast.Assign)]
    return any(
        isinstance(target, ast.Name) and target.id == "OWN_SERVER" for node in assigned for target in node.targets
    )


def outside(name: str, *, quick: bool) -> list[Row] | None:
    """Start a server, unless the benchmark does, and measure in a process with the settings of production."""
    from config.database import SAFE, throwaway

    with nullcontext() if starts_a_server(name) else throwaway(SAFE) as cluster:
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("DATABASE_")},
            "DATABASE_URL": cluster.url if cluster else NOWHERE,
            "DATABASE_TIMEOUT": "600",
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "DEBUG": "false",
            "LOG_LEVEL": "WARNING",
            "SECRET_KEY": secrets.token_urlsafe(50),
            "ALLOWED_HOSTS": "localhost",
        }
        command = [sys.executable, "-m", "benchmarks", name, "--inside", *(["--quick"] if quick else [])]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        print(f"{name} failed", file=sys.stderr)
        return None
    rows: list[Row] = json.loads(done.stdout.splitlines()[-1])
    return rows


def inside(name: str, *, quick: bool) -> None:
    import django
    from django.core.management import call_command

    django.setup()
    if not starts_a_server(name):
        call_command("migrate", verbosity=0)
    print(json.dumps(importlib.import_module(f"benchmarks.{name}").run(quick=quick)))


def passed(row: Row) -> bool | None:
    if not row["reach"]:
        return None
    mark, number = row["reach"].split()
    return bool(MARKS[mark](row["value"], float(number)))


def table(rows: list[Row]) -> str:
    lines = [("", "what", "value", "unit", "reach", "beside")]
    lines += [
        (
            {True: "pass", False: "FAIL", None: ""}[row["passed"]],
            row["name"],
            f"{row['value']:,.2f}",
            row["unit"],
            row["reach"],
            row["peer"],
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(6)]
    aligned = [str.ljust, str.ljust, str.rjust, str.ljust, str.ljust, str.ljust]
    return "\n".join(
        "  ".join(align(cell, width) for align, cell, width in zip(aligned, line, widths, strict=True)).rstrip()
        for line in lines
    )


def written(rows: list[Row], *, quick: bool) -> Path:
    """One file per run, so that two of one day can be compared."""
    now = datetime.now(UTC)
    folder = HERE / "results"
    folder.mkdir(exist_ok=True)
    path = folder / f"{now:%Y-%m-%dT%H%M%S}.json"
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()}
    path.write_text(json.dumps({"at": now.isoformat(), "quick": quick, "machine": machine, "rows": rows}, indent=1))
    return path.relative_to(HERE.parent)


if __name__ == "__main__":
    main()
