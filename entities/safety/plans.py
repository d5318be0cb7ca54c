"""Judges migrations, one by one and as a plan, before the first statement of any of them runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import connection
from django.db.migrations import AddField, CreateModel, Migration, RunSQL, SeparateDatabaseAndState
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django_migration_linter.sql_analyser.analyser import analyse_sql_statements
from django_migration_linter.sql_analyser.postgresql import PostgresqlAnalyser

from entities.safety import rules, statements

OURS = ("config", "search", "agents", "entities", "conversations")

# Older than the first release, or safe for a reason the rules cannot see. Each with that reason.
ACCEPTED: dict[tuple[str, str], str] = {
    ("conversations", "0010_delivery_engine"): "its rules for `deliveries` are older than the first release",
    ("conversations", "0005_turn_rules"): "its index on `messages` is older than the first release",
}

LINTED = (CreateModel, AddField, RunSQL)  # whose SQL can be had without running anything
LATER = {"ADD_UNIQUE", "CREATE_INDEX", "CREATE_INDEX_EXCLUSIVE"}  # the rules know these better: tables may be new


@dataclass(frozen=True)
class Problem:
    """Why a migration is refused, and what to write in its place."""

    migration: str
    operation: str
    reason: str
    instead: str

    def __str__(self) -> str:
        return f"{self.migration}: {self.operation} {self.reason}.\n    Instead: {self.instead}"


def judge(migrations: Iterable[Migration], state: ProjectState, *, existing: set[str] | None = None) -> list[Problem]:
    """What is wrong with these migrations, in their order. `state` is changed to the one behind them.

    `existing` are the tables of a database; without it every table is taken to exist that another migration made.
    """
    problems: list[Problem] = []
    new: set[str] = set()
    for migration in migrations:
        if existing is None:
            new = set()
        problems += _judge_one(migration, state, new)
        if existing is not None:
            new -= existing
    return problems


def judge_tree(apps: Sequence[str] = OURS) -> list[Problem]:
    """Every migration in the tree, each as if it were applied to a database that has all those before it."""
    loader = MigrationLoader(None)
    state = ProjectState()
    problems: list[Problem] = []
    for key in _in_order(loader):
        migration = loader.graph.nodes[key]
        if migration is None:
            continue
        found = judge([migration], state)
        problems += found if key[0] in apps else []
    return problems


def _in_order(loader: MigrationLoader) -> list[tuple[str, str]]:
    order: dict[tuple[str, str], None] = {}
    for leaf in sorted(loader.graph.leaf_nodes()):
        order |= dict.fromkeys(loader.graph.forwards_plan(leaf))
    return list(order)


def _judge_one(migration: Migration, state: ProjectState, new: set[str]) -> list[Problem]:
    label, name = migration.app_label, f"{migration.app_label}.{migration.name}"
    exempt = label not in OURS or (label, migration.name) in ACCEPTED
    problems = []
    for operation in migration.operations:
        problems += [] if exempt else _judge_alone(migration, operation)
        for piece, changes in _pieces(operation):
            before = state.clone()
            piece.state_forwards(label, state) if changes else None
            after = state if changes else _with(piece, label, before)
            if isinstance(piece, CreateModel) and piece.options.get("managed", True):
                new.add(rules.table_of(after, label, piece.name))
            if isinstance(piece, RunSQL):
                new |= statements.created(rules.as_text(piece.sql))
            if not exempt and not _state_only(operation, piece):
                found = list(rules.broken(piece, (label, before, after, new))) or _linted(
                    piece, label, before, after, new
                )
                problems += [Problem(name, _called(piece), reason, instead) for reason, instead in found]
    return problems


def _judge_alone(migration: Migration, operation: Operation) -> list[Problem]:
    """An index built in the background cannot be rolled back: alone, it can be run again."""
    if not isinstance(operation, AddIndexConcurrently) or (not migration.atomic and len(migration.operations) == 1):
        return []
    reason = "is not alone: killed between two steps, the migration could not be run again"
    instead = "`atomic = False`, and this operation in a migration of its own."
    return [Problem(f"{migration.app_label}.{migration.name}", _called(operation), reason, instead)]


def _pieces(operation: Operation) -> list[tuple[Operation, bool]]:
    """The operation, or what it is made of; and whether the models change with it."""
    if isinstance(operation, SeparateDatabaseAndState):
        return [(each, False) for each in operation.database_operations] + [
            (each, True) for each in operation.state_operations
        ]
    return [(operation, True)]


def _state_only(operation: Operation, piece: Operation) -> bool:
    return isinstance(operation, SeparateDatabaseAndState) and piece in operation.state_operations


def _with(piece: Operation, label: str, before: ProjectState) -> ProjectState:
    after = before.clone()
    piece.state_forwards(label, after)
    return after


def _linted(
    piece: Operation, label: str, before: ProjectState, after: ProjectState, new: set[str]
) -> list[tuple[str, str]]:
    """A second opinion on the SQL that Django would run: django-migration-linter's."""
    if not isinstance(piece, LINTED):
        return []
    if isinstance(piece, AddField) and rules.table_of(before, label, piece.model_name) in new:
        return []
    with connection.schema_editor(collect_sql=True, atomic=False) as editor:
        piece.database_forwards(label, editor, before, after)
        collected = [statement for statement in editor.collected_sql if _worth_linting(statement)]
    errors, _ignored, _warnings = analyse_sql_statements(PostgresqlAnalyser, collected, [])
    return [
        (f"was refused by the linter ({issue.code}): {issue.message}", statements.DO_IT_IN_STEPS)
        for issue in errors
        if issue.code not in LATER
        and issue.table not in new
        and not (issue.code == "NOT_NULL" and isinstance(piece, RunSQL))  # it takes no notice of a DEFAULT there
    ]


def _worth_linting(statement: str) -> bool:
    """The linter takes the columns of a table made by hand for columns that are added to one."""
    return not statement.startswith("--") and not statements.CREATED.search(" ".join(statements.split(statement)))


def _called(operation: Operation) -> str:
    parts = [getattr(operation, name, None) for name in ("model_name", "name")]
    return f"{operation.__class__.__name__}({', '.join(str(part) for part in parts if part)})"


def told(problems: Sequence[Problem]) -> str:
    """All of them, for a person."""
    lines = [f"  {problem}" for problem in problems]
    return "\n".join([f"{len(problems)} unsafe: nothing was changed.", *lines])
