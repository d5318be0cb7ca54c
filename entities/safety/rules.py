"""The rules as operations break them: never drop, never rename, never narrow, and let old code go on writing."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

from django.contrib.postgres.operations import (
    AddConstraintNotValid,
    AddIndexConcurrently,
    CreateExtension,
    RemoveIndexConcurrently,
    ValidateConstraint,
)
from django.core.exceptions import FieldDoesNotExist
from django.db import connection, models
from django.db.migrations import operations as django_operations
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models import Value
from django.db.models.functions import Now

from entities.safety import statements
from entities.safety.statements import DO_IT_IN_STEPS, HIDE, IN_THE_BACKGROUND

Broken = Iterator[tuple[str, str]]  # why it is refused, and what to write in its place
Context = tuple[str, ProjectState, ProjectState, set[str]]  # the app, the state before and after, tables that are new

NULLABLE = "Give it `null=True`, or `db_default=...`: old code inserts rows without knowing the column."
VALIDATE_LATER = "AddConstraintNotValid here, and ValidateConstraint in the next migration."


def table_of(state: ProjectState, app: str, name: str) -> str:
    """A model's table as the state knows it."""
    model = state.models[app, name.lower()]
    return str(model.options.get("db_table") or f"{app}_{name.lower()}")


def broken(operation: Operation, context: Context) -> Broken:
    """Every rule an operation breaks."""
    for kind, rule in RULES:
        if isinstance(operation, kind):
            try:
                yield from rule(operation, context)
            except (FieldDoesNotExist, LookupError) as error:
                yield f"does not fit what the migrations before it made ({error})", "What the models really have."
            return
    if not operation.__class__.__module__.startswith(KNOWN):
        yield (
            f"is an operation of {operation.__class__.__module__}, and nobody knows what it does to the tables",
            "Write it as RunSQL or with Django's own operations.",
        )


# Operations of these packages that no rule names change no rows: extensions, managers, options, row-level security.
KNOWN = ("django.", "pgvector.", "config.", "search.", "agents.", "conversations.", "entities.")


def _drops_table(operation: Any, context: Context) -> Broken:
    app, before, _after, new = context
    if before.models[app, operation.name_lower].options.get("managed", True) and (
        table_of(before, app, operation.name) not in new
    ):
        yield "drops a table and all its rows", HIDE


def _drops_column(operation: Any, context: Context) -> Broken:
    app, before, _after, new = context
    if table_of(before, app, operation.model_name) not in new:
        yield "drops a column and what is in it", HIDE


def _renames(operation: Any, context: Context) -> Broken:
    app, before, _after, new = context
    name = getattr(operation, "old_name", None) if isinstance(operation, django_operations.RenameModel) else None
    table = table_of(before, app, name or getattr(operation, "model_name", None) or operation.name)
    if table in new or (isinstance(operation, django_operations.AlterModelTable) and operation.table == table):
        return
    yield "renames what running code and other people's SQL know", DO_IT_IN_STEPS


def _adds_column(operation: Any, context: Context) -> Broken:
    app, before, _after, new = context
    field = operation.field
    if table_of(before, app, operation.model_name) in new or field.many_to_many:
        return
    if not field.null and not field.has_db_default() and not getattr(field, "generated", False):
        yield "adds a column NOT NULL without a default in the database", NULLABLE
    if getattr(field, "generated", False):
        yield "adds a generated column: the table is rewritten under a lock", DO_IT_IN_STEPS
    if field.has_db_default() and not _constant(field.db_default):
        yield "adds a column whose default differs from row to row: the table is rewritten under a lock", DO_IT_IN_STEPS
    yield from _indexed(field)


def _constant(default: Any) -> bool:
    """Stored once in the catalogue, and not per row."""
    return not hasattr(default, "resolve_expression") or isinstance(default, Value | Now)


def _indexed(field: Any) -> Broken:
    if field.unique:
        yield "makes a column unique: an index is built while nobody can write", IN_THE_BACKGROUND
    elif field.db_index:
        yield "builds an index while nobody can write", f"`db_index=False`, and {IN_THE_BACKGROUND}"


def _changes_column(operation: Any, context: Context) -> Broken:
    app, before, after, new = context
    table = table_of(before, app, operation.model_name)
    if table in new:
        return
    old, field = (
        state.apps.get_model(app, operation.model_name)._meta.get_field(operation.name) for state in (before, after)
    )
    if old.column != field.column:
        yield "renames what running code and other people's SQL know", DO_IT_IN_STEPS
    had, has = old.db_type(connection), field.db_type(connection)
    if had != has and not _widens(str(had), str(has)):
        yield (
            f"changes the type from {had} to {has}: values may not fit, and the table is rewritten under a lock",
            DO_IT_IN_STEPS,
        )
    if old.null and not field.null:
        yield (
            "makes a column NOT NULL: old code that leaves it out fails, and the table is read under a lock",
            f"With a CheckConstraint: {VALIDATE_LATER}",
        )
    if old.has_db_default() and not field.has_db_default() and not field.null:
        yield "takes away the default that old code leans on", "Leave the default."
    if (field.unique, field.db_index) != (old.unique, old.db_index):
        yield from _indexed(field)


def _widens(had: str, has: str) -> bool:
    """Does every value fit, without touching a row?"""
    if not had.startswith("varchar"):
        return False
    sizes = [int(size) for size in (had[8:-1], has[8:-1]) if has.startswith("varchar(") and size.isdigit()]
    return has in {"text", "varchar"} or (len(sizes) == 2 and sizes[0] <= sizes[1])


def _adds_index(operation: Any, context: Context) -> Broken:
    app, before, _after, new = context
    if table_of(before, app, operation.model_name) not in new:
        yield "builds an index while nobody can write", IN_THE_BACKGROUND


def _adds_constraint(operation: Any, context: Context) -> Broken:
    app, before, _after, new = context
    if table_of(before, app, operation.model_name) in new:
        return
    if isinstance(operation.constraint, models.CheckConstraint):
        yield "reads the whole table under a lock", VALIDATE_LATER
    else:
        yield "builds an index while nobody can write", "A unique index made CONCURRENTLY with RunSQL, then the state."


def _old_constraint(operation: Any, context: Context) -> Broken:
    app, before, _after, new = context
    changed = getattr(operation, "option_value", None)
    if changed and table_of(before, app, operation.name) not in new:
        yield "builds an index while nobody can write", "A UniqueConstraint, added in the background."


def _runs_sql(operation: Any, context: Context) -> Broken:
    *_rest, new = context
    for found in statements.broken(as_text(operation.sql), new):
        yield f"{found.reason}: {found.statement[:120]}", found.instead


def as_text(sql: Any) -> str:
    """RunSQL takes a text, or a list of texts and of (text, parameters)."""
    parts = [sql] if isinstance(sql, str) else [part if isinstance(part, str) else part[0] for part in sql]
    return ";\n".join(part for part in parts if part)


def _runs_python(operation: Any, context: Context) -> Broken:
    """Its texts are read as SQL, its calls by name; what escapes that is seen by the rehearsal and the database."""
    *_rest, new = context
    for text in texts_of(operation.code):
        for found in statements.broken(text, new):
            yield f"{found.reason}: {found.statement[:120]}", found.instead
    if any(called in {"delete", "_raw_delete", "hard_delete"} for called in _calls(operation.code)):
        yield "deletes rows", HIDE


def texts_of(code: Callable[..., Any]) -> list[str]:
    """Every text in a function, and those of its module that it names."""
    tree = _parsed(code)
    if tree is None:
        return []
    around = getattr(code, "__globals__", {})
    inner = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    named = [around.get(node.id) for node in ast.walk(tree) if isinstance(node, ast.Name)]
    return inner + [text for text in named if isinstance(text, str)]


def _calls(code: Callable[..., Any]) -> set[str]:
    tree = _parsed(code)
    return {
        node.func.attr
        for node in (ast.walk(tree) if tree else ())
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }


def _parsed(code: Callable[..., Any]) -> ast.AST | None:
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(code)))
    except (OSError, TypeError, SyntaxError, IndentationError):
        return None


def _nothing(_operation: Any, _context: Context) -> Broken:
    return iter(())


RULES: list[tuple[type[Operation], Callable[[Any, Context], Broken]]] = [
    (AddIndexConcurrently, _nothing),
    (RemoveIndexConcurrently, _nothing),
    (AddConstraintNotValid, _nothing),
    (ValidateConstraint, _nothing),
    (CreateExtension, _nothing),
    (django_operations.DeleteModel, _drops_table),
    (django_operations.RemoveField, _drops_column),
    (django_operations.RenameModel, _renames),
    (django_operations.RenameField, _renames),
    (django_operations.AlterModelTable, _renames),
    (django_operations.AddField, _adds_column),
    (django_operations.AlterField, _changes_column),
    (django_operations.AddIndex, _adds_index),
    (django_operations.AddConstraint, _adds_constraint),
    (django_operations.AlterUniqueTogether, _old_constraint),
    (django_operations.AlterIndexTogether, _old_constraint),
    (django_operations.RunSQL, _runs_sql),
    (django_operations.RunPython, _runs_python),
]
