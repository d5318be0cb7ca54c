"""Has Django make the migrations of a draft, in a copy of the project, and turns them into safe ones.

`manage.py mechanic draft` runs there, in a process of its own, so that this one keeps the models it has.
"""

from __future__ import annotations

import ast
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from django.apps import apps
from django.conf import settings
from django.contrib.postgres.operations import AddConstraintNotValid, AddIndexConcurrently, ValidateConstraint
from django.db import connection
from django.db.migrations import AddConstraint, AddIndex, CreateModel, Migration
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.questioner import MigrationQuestioner
from django.db.migrations.state import ProjectState
from django.db.migrations.writer import MigrationWriter
from django.db.models import CheckConstraint

from config.env import ROOT
from entities import postgres
from entities.mechanic import printing
from entities.safety import OURS, judge

LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv*", "var", "__pycache__", ".*_cache", ".hypothesis", "staticfiles", "node_modules", "results"
)
SCHEMA = Path("entities") / "schema"


class DraftError(Exception):
    """The draft cannot be made into migrations."""


@dataclass(frozen=True)
class Draft:
    """What Django made of the files."""

    migrations: dict[str, str]  # the text of each file
    sql: str


@contextmanager
def copy_with(files: dict[str, str], *, root: Path = ROOT) -> Iterator[Path]:
    """A copy of the project with these files in it, for the length of the block; only we may read it."""
    with tempfile.TemporaryDirectory(prefix="parley-mechanic-") as place:
        folder = Path(place) / "project"
        shutil.copytree(root, folder, ignore=_left_out, symlinks=True)
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        yield folder


def _left_out(folder: str, names: list[str]) -> set[str]:
    """What is no source: caches by name, and data wherever the settings put it (a server's socket cannot be copied)."""
    data = {Path(place).resolve() for place in (settings.DATA_DIR, settings.BACKUP_DIR)}
    return LEFT_OUT(folder, names) | {name for name in names if Path(folder, name).resolve() in data}


def draft(files: dict[str, str], title: str) -> Draft:
    """The migrations for these model files, and their SQL."""
    with copy_with(files) as folder:
        done = postgres.manage("mechanic", "draft", text=title, database=postgres.name_of_ours(), folder=folder)
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if line.strip()]
            raise DraftError(" | ".join(said[-4:])[:2000] or "The draft ended without a word.")
        found = json.loads(done.stdout.splitlines()[-1])
    return Draft(migrations=found["migrations"], sql=found["sql"])


# --- in the copy ---
def make(title: str) -> Draft:
    """Detect what the files changed, make it safe, judge it, and print it as people would have written it."""
    loader = MigrationLoader(None)
    before = loader.project_state()
    found = MigrationAutodetector(before, ProjectState.from_apps(apps), MigrationQuestioner()).changes(
        graph=loader.graph, trim_to_apps={"entities"}, convert_apps={"entities"}
    )
    operations = [operation for migration in found.get("entities", []) for operation in migration.operations]
    if not operations:
        raise DraftError("The files change nothing that a migration would do.")
    (leaf,) = loader.graph.leaf_nodes("entities")
    made = list(_numbered(_steps(operations), leaf[1], title))
    if problems := judge(made, before.clone()):
        raise DraftError("; ".join(str(problem) for problem in problems))
    return Draft({f"{one.name}.py": as_text(one, title) for one in made}, _sql(made, before))


def _steps(operations: Sequence[Operation]) -> Iterator[tuple[bool, list[Operation]]]:
    """What one transaction does, then what has to be validated, then each index by itself."""
    new = {one.name_lower for one in operations if isinstance(one, CreateModel)}
    first: list[Operation] = []
    validate: list[Operation] = []
    indexes: list[Operation] = []
    for operation in operations:
        name = getattr(operation, "model_name_lower", "")
        if isinstance(operation, AddIndex) and name not in new:
            indexes.append(AddIndexConcurrently(operation.model_name, operation.index))
        elif (
            isinstance(operation, AddConstraint)
            and name not in new
            and isinstance(operation.constraint, CheckConstraint)
        ):
            first.append(AddConstraintNotValid(operation.model_name, operation.constraint))
            validate.append(ValidateConstraint(operation.model_name, operation.constraint.name))
        else:
            first.append(operation)
    if first:
        yield True, first
    if validate:
        yield True, validate
    yield from ((False, [index]) for index in indexes)


def _numbered(steps: Iterator[tuple[bool, list[Operation]]], leaf: str, title: str) -> Iterator[Migration]:
    number, after = int(leaf[:4]) + 1, leaf
    slug = "_".join(word for word in "".join(c if c.isascii() and c.isalnum() else " " for c in title.lower()).split())
    for place, (atomic, operations) in enumerate(steps):
        name = f"{number + place:04}_{(slug or 'mechanic')[:40].strip('_')}{f'_{place + 1}' if place else ''}"
        parts = {"atomic": atomic, "operations": operations, "dependencies": [("entities", after)]}
        migration = type("Migration", (Migration,), parts)(name, "entities")
        after = name
        yield migration


def _sql(made: Sequence[Migration], before: ProjectState) -> str:
    state, lines = before.clone(), []
    for migration in made:
        with connection.schema_editor(collect_sql=True, atomic=False) as editor:
            state = migration.apply(state, editor, collect_sql=True)
        lines += [f"-- {migration.name}", *(line for line in editor.collected_sql if line not in {"--", ""})]
    return "\n".join(lines)


def as_text(migration: Migration, title: str) -> str:
    """As the formatter would leave it."""
    tree = ast.parse(MigrationWriter(migration, include_header=False).as_string())
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    holder = next(node for node in tree.body if isinstance(node, ast.ClassDef))
    body = {
        target.id: node.value
        for node in holder.body if isinstance(node, ast.Assign)
        for target in node.targets if isinstance(target, ast.Name)
    }  # fmt: skip
    said = title.rstrip(".").replace("\\", "").replace('"', "'")
    lines = [f'"""{said}."""', "", *_imports(imports), "", "", "class Migration(migrations.Migration):"]
    if not migration.atomic:
        lines.append("    atomic = False  # the index is built while people write")
    for name in ("dependencies", "operations"):
        value = body[name]
        assert isinstance(value, ast.List)  # noqa: S101  so the writer writes it
        if name == "dependencies":
            lines.append(printing.call(ast.unparse(value), 4, before="dependencies = "))
        else:
            each = [printing.call(ast.unparse(one), 8, after=",") for one in value.elts]
            lines += ["    operations = [", *each, "    ]"]
    return "\n".join(lines) + "\n"


def _imports(found: Sequence[ast.Import | ast.ImportFrom]) -> list[str]:
    """`import ...` first, then `from ...`, each by name: all of them are Django's or ours."""
    plain = sorted(f"import {one.name}" for node in found if isinstance(node, ast.Import) for one in node.names)
    named = [node for node in found if isinstance(node, ast.ImportFrom)]
    lines = [
        f"from {node.module} import {', '.join(sorted(one.name for one in node.names))}"
        for node in sorted(named, key=lambda node: str(node.module))
    ]
    django = [line for line in plain + lines if not line.split()[1].startswith(OURS)]
    ours = [line for line in plain + lines if line not in django]
    return [*django, *([""] if ours and django else []), *ours]
