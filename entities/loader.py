"""Imports whatever lies in `entities/schema/`, and says which file is wrong, on which line, and what to write instead.

A wrong file takes its own table away and no other: the processes run on, which the log and `doctor` tell, while every
`manage.py` command that checks the system stops (so that nobody makes a migration out of a table that is "gone").
"""

from __future__ import annotations

import keyword
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import structlog
from django.apps import apps
from django.db.models import Field
from django.db.models.options import Options
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from config.env import ROOT
from entities.base import BASE_FIELDS, Entity, own_fields

logger = structlog.get_logger(__name__)

FOLDER = Path(__file__).resolve().parent / "schema"
PACKAGE = "entities.schema"
LONGEST_NAME = 63  # bytes of an identifier in PostgreSQL
LONGEST_TYPE = 50  # characters of a type in the search index


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a file was not loaded."""

    file: Path
    line: int
    reason: str
    hint: str = ""

    def __str__(self) -> str:
        file = self.file.relative_to(ROOT) if self.file.is_relative_to(ROOT) else self.file
        return f"{file}:{self.line}: {self.reason}"


class SchemaFileError(Exception):
    """A file of entities/schema/ cannot be used."""

    permanent = True

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


MODELS: dict[str, type[Entity]] = {}  # by table, in the order of the files
PROBLEMS: list[Problem] = []


def load(folder: Path = FOLDER, package: str = PACKAGE) -> dict[str, type[Entity]]:
    """Import every file; what cannot be used is told and left out."""
    for file in sorted(folder.glob("*.py")):
        if file.stem.startswith("_"):
            continue
        try:
            MODELS[file.stem] = _model(file, f"{package}.{file.stem}")
        except SchemaFileError as error:
            PROBLEMS.append(error.problem)
            _forget(f"{package}.{file.stem}")
            logger.error("schema file left out", reason=str(error), hint=error.problem.hint)
    return MODELS


def models() -> list[type[Entity]]:
    """Every table there is, by name."""
    return list(MODELS.values())


def model_of(entity_type: str) -> type[Entity] | None:
    """`character` is the type of what is in `characters`."""
    return next((model for model in models() if type_of(model) == entity_type), None)


def type_of(model: type[Entity]) -> str:
    """How lineage, search and the record name what is in this table."""
    return str(model._meta.model_name)


def _model(file: Path, module_name: str) -> type[Entity]:
    if not file.stem.isidentifier() or keyword.iskeyword(file.stem) or len(file.stem.encode()) > LONGEST_NAME:
        raise SchemaFileError(
            Problem(file, 1, f"{file.stem!r} cannot be a table.", "Name the file in small letters, as in places.py.")
        )
    module = _imported(file, module_name)
    found = [
        one
        for one in vars(module).values()
        if isinstance(one, type) and issubclass(one, Entity) and one.__module__ == module_name
    ]
    if len(found) != 1:
        reason = f"It declares {len(found)} models on Entity; a file is one table."
        raise SchemaFileError(Problem(file, 1, reason, "See the shape at the top of entities/base.py."))
    for problem in _broken_rules(file, found[0]):
        raise SchemaFileError(problem)
    _translate(found[0])
    return found[0]


def _imported(file: Path, module_name: str) -> ModuleType:
    try:
        return import_module(module_name)
    except SyntaxError as error:
        line, reason = error.lineno or 1, f"{type(error).__name__}: {error.msg}"
    except Exception as error:
        line, reason = _line_in(file, error), f"{type(error).__name__}: {error}"
    raise SchemaFileError(Problem(file, line, reason, "Mend the line, or take the file out of the folder."))


def _broken_rules(file: Path, model: type[Entity]) -> Iterator[Problem]:
    def problem(reason: str, hint: str, near: str) -> Problem:
        return Problem(file, _line_with(file, near), f"{model.__name__}: {reason}", hint)

    if model._meta.db_table != file.stem:
        hint = f'Write db_table = "{file.stem}" in its Meta.'
        yield problem(f"db_table is {model._meta.db_table!r}, not the name of the file.", hint, "db_table")
    if len(type_of(model)) > LONGEST_TYPE:
        hint = "Choose a shorter name for the class."
        yield problem(f"its name is longer than {LONGEST_TYPE} letters.", hint, f"class {model.__name__}")
    for name in BASE_FIELDS:
        if _shape(model._meta, name) != _shape(Entity._meta, name):
            yield problem(f"{name} is a base field.", "Base fields come from Entity.", f"{name} =")
    for field in own_fields(model):
        if len(str(field.column).encode()) > LONGEST_NAME:
            yield problem(f"the name {field.column} is longer than {LONGEST_NAME} bytes.", "Shorten it.", field.name)


def _shape(meta: Options[Any], name: str) -> object:
    field = meta.get_field(name)
    return field.deconstruct()[1:] if isinstance(field, Field) else None


def _translate(model: type[Entity]) -> None:
    """A plain label is shown in the reader's language where the catalogue has it."""
    for field in own_fields(model):
        if not isinstance(field.verbose_name, Promise):
            field.verbose_name = gettext_lazy(field.verbose_name)
    for name in ("verbose_name", "verbose_name_plural"):
        if not isinstance(label := getattr(model._meta, name), Promise):
            setattr(model._meta, name, gettext_lazy(label))


def _forget(module_name: str) -> None:
    """Half a table is no table: what the file declared before it failed is taken back."""
    registered = apps.all_models["entities"]
    for name in [name for name, model in registered.items() if model.__module__ == module_name]:
        del registered[name]
    sys.modules.pop(module_name, None)
    apps.clear_cache()


def _line_in(file: Path, error: BaseException) -> int:
    """The last line of the file that was at work; a message from deep inside Django points there, too."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    return (lines[-1] if lines else 1) or 1


def _line_with(file: Path, near: str) -> int:
    lines = file.read_text().splitlines()
    return next((number for number, line in enumerate(lines, 1) if near in line), 1)
