"""Mutation testing of the promises: `python -m tests.mutation --sample 12 --seed 1 [--only turns]`.

Each mutant changes one place of one module: a comparison, a condition, a lock, a fence in SQL. The tests
chosen for the module run against it in a copy of the checkout; a mutant that no test notices is printed as a
survivor. Mutants known to change nothing observable are listed in `mutation_equivalents.txt`, each with its
reason. Run by hand: each mutant costs a test run, and on a busy machine a test that fails for time counts as
a kill.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

ROOT = Path(__file__).resolve().parent.parent
EQUIVALENTS = Path(__file__).with_name("mutation_equivalents.txt")
TIMEOUT = 420.0  # seconds of one mutant's tests; a mutant that hangs them counts as killed
TURNS = "fences one_message_in_one_reply_out races turn_pages traps_of_the_field dialogue_order burst_state_machine"
AREAS: dict[str, tuple[str, str]] = {  # area: modules, and names of test files without `test_`
    "turns": (
        "conversations/turns.py conversations/settling.py conversations/answering.py conversations/dialogue.py",
        TURNS,
    ),
    "bursts": (
        "conversations/buffering.py conversations/burst.py conversations/receiving.py",
        f"{TURNS} burst_properties trickle",
    ),
    "log": ("conversations/log.py", "message_log log_properties log_rules isolation races"),
    "outbox": (
        "conversations/outbox.py conversations/fates.py",
        "deliveries one_message_in_one_reply_out fate_rules races",
    ),
    "deliveries": (
        "conversations/delivering.py conversations/undelivered.py",
        "deliveries delivery_pages replies_reach_telegram",
    ),
    "reconcile": ("conversations/reconcile.py", "reconcile import_fates"),
    "calls": ("agents/calls.py agents/approvals.py", "tool_calls approved_outside_tools tool_call_pages isolation"),
    "checkpoints": ("agents/checkpoints.py", "checkpoints runtime runtime_crashes"),
    "queue": ("config/queue/rows.py config/queue/sweeping.py", "queue_rows queue_machine queue_rounds"),
    "rights": ("config/rls.py conversations/isolation.py", "isolation api_isolation definers owner_without_superuser"),
    "filters": (
        "search/filters.py search/fusion.py",
        "search_filters search search_fusion search_api isolation search_page",
    ),
}
SWAPS: dict[type[ast.cmpop], str] = {
    ast.Eq: "!=", ast.NotEq: "==", ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">",
    ast.Is: "is not", ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in",
}  # fmt: skip
SQL = re.compile(r"\b(SELECT|UPDATE|INSERT INTO|DELETE FROM)\b")
SQL_CHANGES = (
    (re.compile(r"\s+FOR (NO KEY )?UPDATE( OF \w+)?( SKIP LOCKED)?"), ""),
    (re.compile(r"\s+AND [^()\n\"%]+?(?= AND | OR | RETURNING| AS | THEN| FROM| ORDER| WHERE|[\n\"])"), ""),
    (re.compile(r" <= "), " < "),
    (re.compile(r" \+ 1\b"), " + 0"),
    (re.compile(r" = 'running'"), " = 'waiting'"),
    (re.compile(r" ORDER BY [\w.]+(, [\w.]+)*(?! ?\()"), ""),
    (re.compile(r"ON CONFLICT[^\n]*WHERE [^\n]+"), "ON CONFLICT DO NOTHING"),
)
UNOBSERVED = ("logger", "log.info", "log.warning", "log.error", "crash_point", "structlog")


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change to one file."""

    path: str
    line: int
    before: str
    after: str
    start: int
    end: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {' '.join(self.before.split())[:70]} -> {' '.join(self.after.split())[:70]}"

    @property
    def key(self) -> str:
        """What names the mutant in the list of equivalents: it outlives a move of lines."""
        return f"{self.path}: {' '.join(self.before.split())} -> {' '.join(self.after.split())}"


def mutants(path: str) -> list[Mutant]:
    """All mutants of one file, in the order of its lines."""
    source = (ROOT / path).read_text()
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line.encode()))
    raw = source.encode()

    def span(node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset

    made = []
    for node in ast.walk(ast.parse(source)):
        for target, after in changes(node):
            begin, end = span(target)
            made.append(Mutant(path, target.lineno, raw[begin:end].decode(), after, begin, end))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.search(node.value):
            begin, end = span(node)
            text = raw[begin:end].decode()
            for pattern, replacement in SQL_CHANGES:
                for match in pattern.finditer(text):
                    start = begin + len(text[: match.start()].encode())
                    line = source.encode()[:start].count(b"\n") + 1
                    made.append(Mutant(path, line, match[0], replacement, start, start + len(match[0].encode())))
    return sorted(
        {m for m in made if not any(word in m.before for word in UNOBSERVED)}, key=lambda m: (m.start, m.after)
    )


def changes(node: ast.AST) -> Iterator[tuple[ast.expr | ast.stmt, str]]:
    """What may be changed at a node of the syntax tree."""
    match node:
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in SWAPS:
            yield node, f"{ast.unparse(left)} {SWAPS[type(op)]} {ast.unparse(right)}"
        case ast.BoolOp(op=op, values=values):
            word = " and " if isinstance(op, ast.And) else " or "
            for left_out in values:
                yield node, "(" + word.join(ast.unparse(value) for value in values if value is not left_out) + ")"
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield node, ast.unparse(operand)
        case ast.Expr(value=ast.Call()):
            yield node, "pass"
        case ast.If(test=test) if not isinstance(test, ast.Compare | ast.BoolOp | ast.UnaryOp):
            yield test, f"not ({ast.unparse(test)})"
        case ast.With(items=[item]) if ast.unparse(item.context_expr).endswith(".atomic()"):
            yield item.context_expr, "__import__('contextlib').nullcontext()"
        case ast.Call(func=ast.Attribute(attr="filter" | "exclude" | "update"), keywords=[_, _, *_] as keywords):
            for left_out in keywords:
                if left_out.arg not in ("updated_at", None):
                    kept = [keyword for keyword in keywords if keyword is not left_out]
                    yield node, ast.unparse(ast.Call(node.func, node.args, kept))


def is_killed(checkout: Path, mutant: Mutant, tests: list[str]) -> bool:
    """Run the tests against the mutant in a checkout of its own; the file is put back."""
    file = checkout / mutant.path
    raw = file.read_bytes()
    file.write_bytes(raw[: mutant.start] + mutant.after.encode() + raw[mutant.end :])
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    try:
        run = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        return True
    finally:
        file.write_bytes(raw)
    return run.returncode != 0


def files_named(names: str) -> list[str]:
    found = {path.stem: str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*.py")}
    return [found[f"test_{name}"] for name in names.split() if f"test_{name}" in found]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--sample", type=int, default=12, help="mutants of an area; 0 for all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", choices=AREAS, action="append", help="one area; may be given again")
    parser.add_argument("--list", action="store_true", help="print the mutants and run nothing")
    given = parser.parse_args()
    equivalents = {line.split(" # ")[0] for line in EQUIVALENTS.read_text().splitlines() if " # " in line}
    chosen: list[tuple[Mutant, list[str]]] = []
    for area in given.only or AREAS:
        modules, names = AREAS[area]
        found = [mutant for path in modules.split() for mutant in mutants(path) if mutant.key not in equivalents]
        if given.sample:
            found = random.Random(given.seed).sample(found, min(given.sample, len(found)))  # noqa: S311
        chosen += [(mutant, files_named(names)) for mutant in found]
    if given.list:
        print("\n".join(mutant.key for mutant, _ in chosen))  # noqa: T201
        return 0
    survivors = run(chosen, given.jobs)
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} mutants killed")  # noqa: T201
    return len(survivors) > len(chosen) * 0.05


def run(chosen: list[tuple[Mutant, list[str]]], jobs: int) -> list[Mutant]:
    survivors = []
    with tempfile.TemporaryDirectory() as folder:
        checkouts: Queue[Path] = Queue()
        for number in range(jobs):
            checkouts.put(_copy(Path(folder) / str(number)))

        def judge(mutant: Mutant, tests: list[str]) -> bool:
            checkout = checkouts.get()
            try:
                return is_killed(checkout, mutant, tests)
            finally:
                checkouts.put(checkout)

        with ThreadPoolExecutor(jobs) as pool:
            verdicts = pool.map(lambda pair: judge(*pair), chosen)
            for (mutant, _), killed in zip(chosen, verdicts, strict=True):
                print("killed  " if killed else "SURVIVED", mutant, flush=True)  # noqa: T201
                if not killed:
                    survivors.append(mutant)
    return survivors


def _copy(folder: Path) -> Path:
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)  # noqa: S607
    for name in filter(None, names.stdout.decode().split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    return folder


if __name__ == "__main__":
    sys.exit(main())
