"""What may be asked for: tables, columns, indexes and choices to add. Everything else is refused with a sentence."""

from __future__ import annotations

import json
import keyword
import re
import sys
import tomllib
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from django.apps import apps
from django.db import connection, models
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from entities import loader
from entities.base import BASE_FIELDS, Entity

LONGEST_NAME = 63  # bytes of a name in PostgreSQL
LONGEST_DOCUMENT = 50_000
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
Type = Literal[
    "string", "text", "integer", "bigint", "float", "decimal", "boolean",
    "date", "time", "datetime", "uuid", "list", "choice", "reference",
]  # fmt: skip

NO_DROP = gettext_lazy("Nothing is ever dropped. `manage.py mechanic revert` hides what a change added.")
NO_RENAME = gettext_lazy("Nothing is ever renamed: running code knows the old name. Add a column with the new one.")
NO_TYPE = gettext_lazy("Columns do not change their type: values might not fit. Add a column beside it.")
NEVER = {
    "drop": NO_DROP, "remove": NO_DROP, "delete": NO_DROP, "truncate": NO_DROP, "rename": NO_RENAME,
    "alter": NO_TYPE, "change": NO_TYPE, "narrow": NO_TYPE,
}  # fmt: skip


class DocumentError(Exception):
    """The document asks for what cannot or must not be done."""

    permanent = True

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


class Part(BaseModel):
    """A piece of a document; what it does not know, it refuses."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class Choice(Part):
    """One value of a closed set."""

    value: str = Field(min_length=1, max_length=50)
    label: str = Field(default="", max_length=100)


class Column(Part):
    """A column: nullable unless it has a default; required only in a new table."""

    name: str
    type: Type
    label: str = Field(default="", max_length=100)
    null: bool | None = None
    required: bool = False
    default: str | int | float | bool | None = None
    max_length: int = Field(default=200, ge=1, le=10_000)
    digits: int = Field(default=12, ge=1, le=100)
    decimals: int = Field(default=2, ge=0, le=50)
    to: str = ""
    choices: list[Choice] = Field(default_factory=list, max_length=100)


class AddColumn(Column):
    """A column of a table that is there."""

    table: str


class AddTable(Part):
    """A table, with the base fields and these columns."""

    name: str
    singular: str
    description: str = Field(default="", max_length=200)
    label: str = Field(default="", max_length=100)
    plural: str = Field(default="", max_length=100)
    columns: list[Column] = Field(min_length=1, max_length=50)


class AddIndex(Part):
    """An index for a query that staff or agents make often."""

    table: str
    columns: list[str] = Field(min_length=1, max_length=5)


class AddChoice(Part):
    """One more value a column of choices may have."""

    table: str
    column: str
    value: str = Field(min_length=1, max_length=50)
    label: str = Field(default="", max_length=100)


class Document(Part):
    """A change, in the order in which it is made."""

    title: str = Field(min_length=3, max_length=100)
    add_table: list[AddTable] = Field(default_factory=list, max_length=5)
    add_column: list[AddColumn] = Field(default_factory=list, max_length=20)
    add_choice: list[AddChoice] = Field(default_factory=list, max_length=20)
    add_index: list[AddIndex] = Field(default_factory=list, max_length=5)


def read(text: str | dict[str, Any]) -> Document:
    """TOML, JSON or what either says; checked against the tables there are."""
    document = _shaped(parsed(text))
    if problems := list(check(document)):
        raise DocumentError(problems)
    return document


def parsed(text: str | dict[str, Any]) -> dict[str, Any]:
    if isinstance(text, dict):
        return text
    if len(text) > LONGEST_DOCUMENT:
        raise DocumentError([_("The document is longer than %(most)d characters.") % {"most": LONGEST_DOCUMENT}])
    try:
        found = json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise DocumentError([_("This is neither TOML nor JSON: %(reason)s.") % {"reason": error}]) from error
    return dict(found)


def _shaped(found: dict[str, Any]) -> Document:
    if never := [f"{key}: {why}" for key in found for word, why in NEVER.items() if word in str(key).lower()]:
        raise DocumentError(never[:5])
    try:
        return Document.model_validate(found)
    except ValidationError as error:
        raise DocumentError([f"{_place(one['loc'])}: {one['msg']}." for one in error.errors()[:20]]) from error


def _place(where: Sequence[int | str]) -> str:
    return ".".join(str(part + 1) if isinstance(part, int) else part for part in where) or "document"


# --- against what is there ---
def check(document: Document) -> Iterator[str]:
    """Every reason why this cannot be done."""
    if not (document.add_table or document.add_column or document.add_choice or document.add_index):
        yield _("The document asks for nothing.")
    if document.title.startswith("-"):
        yield _("The title must not begin with a dash.")
    reserved, relations = _reserved(), _relations()
    tables: dict[str, set[str]] = {}
    for table in document.add_table:
        yield from _new_table(table, reserved, relations | set(tables))
        tables[table.name] = {column.name for column in table.columns}
        yield from _columns(table.name, table.columns, reserved, tables, new=True)
    for column in document.add_column:
        if known := _known(column.table):
            yield from _columns(column.table, [column], reserved, tables, new=False, there=_names(known))
        elif column.table in tables:
            yield _("%(table)s is new: write its columns into add_table.") % {"table": column.table}
        else:
            yield _no_table(column.table)
    twice = [(one.table, one.name) for one in document.add_column]
    for one in {one for one in twice if twice.count(one) > 1}:
        yield _("%(name)s is asked for twice.") % {"name": ".".join(one)}
    for choice in document.add_choice:
        yield from _choice(choice)
    for index in document.add_index:
        yield from _index(index, document, tables)


def _new_table(table: AddTable, reserved: set[str], relations: set[str]) -> Iterator[str]:
    yield from _named(table.name, reserved)
    yield from _named(table.singular, set())
    if table.name in relations:
        yield _("There is a table %(name)s already.") % {"name": table.name}
    if table.singular == table.name:
        yield _("%(name)s: one row needs another name than all of them.") % {"name": table.name}
    model_name = class_name(table.singular).lower()
    if model_name in model_names() or len(model_name) > loader.LONGEST_TYPE:
        yield _("There is a table of %(name)s already, or the name is too long.") % {"name": table.singular}


def _columns(  # noqa: PLR0913  keyword-only where it is not obvious
    table: str,
    columns: Sequence[Column],
    reserved: set[str],
    tables: dict[str, set[str]],
    *,
    new: bool,
    there: set[str] = frozenset(),  # type: ignore[assignment]
) -> Iterator[str]:
    seen = set(there)
    for column in columns:
        where = f"{table}.{column.name[:80]}"
        for problem in _named(column.name, reserved):
            yield f"{table}: {problem}"
        if column.name in seen:
            yield _("%(where)s is there already.") % {"where": where}
        elif column.name in BASE_FIELDS or hasattr(Entity, column.name):
            yield _("%(where)s: the name is taken, every table has it.") % {"where": where}
        seen.add(column.name)
        yield from _fits(column, where, tables, new=new)


def _fits(column: Column, where: str, tables: dict[str, set[str]], *, new: bool) -> Iterator[str]:
    if column.null is False and column.default is None and not (new and column.required) and column.type != "list":
        yield _("%(where)s: NOT NULL without a default; rows that are there, and old code, do not know the column.") % {
            "where": where
        }
    if column.required and not new:
        yield _("%(where)s: only a new table can require a column. Give it a default.") % {"where": where}
    if column.type == "reference" and not (_known(column.to) or column.to in tables):
        yield f"{where}: {_no_table(column.to)}"
    if column.type == "choice" and not column.choices:
        yield _("%(where)s: which choices?") % {"where": where}
    if len({choice.value for choice in column.choices}) < len(column.choices):
        yield _("%(where)s: a choice is there twice.") % {"where": where}
    yield from _default(column, where)


KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,), "text": (str,), "choice": (str,), "integer": (int,), "bigint": (int,), "float": (int, float),
    "decimal": (int, float), "boolean": (bool,),
}  # fmt: skip


def _default(column: Column, where: str) -> Iterator[str]:
    if column.default is None:
        return
    kinds = KINDS.get(column.type)
    if kinds is None:
        yield _("%(where)s: this type takes no default here; leave it nullable.") % {"where": where}
    elif not isinstance(column.default, kinds) or (isinstance(column.default, bool) and bool not in kinds):
        yield _("%(where)s: the default is no %(type)s.") % {"where": where, "type": column.type}
    elif column.type == "choice" and column.default not in {choice.value for choice in column.choices}:
        yield _("%(where)s: the default is none of the choices.") % {"where": where}
    elif column.type == "string" and len(str(column.default)) > column.max_length:
        yield _("%(where)s: the default is longer than the column.") % {"where": where}
    elif not isinstance(column.default, str) and not abs(column.default) <= _largest(column):
        yield (
            _("%(where)s: the default does not fit; use bigint.") % {"where": where}
            if (column.type == "integer")
            else _("%(where)s: the default does not fit.") % {"where": where}
        )


def _largest(column: Column) -> float:
    """The largest value of a column's type; infinity and `nan` are above every one."""
    match column.type:
        case "integer":
            return 2**31 - 1
        case "bigint":
            return 2**63 - 1
        case "decimal":
            return float(10 ** max(column.digits - column.decimals, 0))
    return sys.float_info.max


def _choice(choice: AddChoice) -> Iterator[str]:
    model = _known(choice.table)
    if model is None:
        yield _no_table(choice.table)
        return
    where = f"{choice.table}.{choice.column[:80]}"
    field = next((one for one in model._meta.concrete_fields if one.name == choice.column), None)
    if field is None or not field.choices:
        yield _("%(where)s is no column of choices.") % {"where": where}
        return
    if choice.value in {str(value) for value, _label in field.flatchoices}:
        yield _("%(where)s has the choice %(value)s already.") % {"where": where, "value": choice.value}
    if isinstance(field, models.CharField) and len(choice.value) > (field.max_length or 0):
        yield _("%(where)s: the value is longer than the column.") % {"where": where}


def _index(index: AddIndex, document: Document, tables: dict[str, set[str]]) -> Iterator[str]:
    model = _known(index.table)
    there = _names(model) if model else set(tables.get(index.table, ()))
    if not there:
        yield _no_table(index.table)
        return
    there |= {column.name for column in document.add_column if column.table == index.table}
    for name in index.columns:
        if name not in there | set(BASE_FIELDS):
            yield _("%(table)s has no column %(name)s.") % {"table": index.table, "name": name[:80]}
    same = [list(one.fields) for one in model._meta.indexes] if model else []
    if index.columns in same:
        yield _("There is an index on these columns of %(table)s already.") % {"table": index.table}


def _named(name: str, reserved: set[str]) -> Iterator[str]:
    if len(name.encode()) > LONGEST_NAME:
        yield _("%(name)s...: a name has at most 63 bytes, this one has %(has)d.") % {
            "name": name[:30], "has": len(name.encode())
        }  # fmt: skip
    elif not NAME.fullmatch(name):
        yield _("%(name)s: a name is small letters, digits and single underscores.") % {"name": ascii(name)[:80]}
    elif name in reserved or keyword.iskeyword(name) or keyword.issoftkeyword(name):
        yield _("%(name)s is a reserved word.") % {"name": name}


def _no_table(name: str) -> str:
    return _("There is no table %(name)s in entities.") % {"name": ascii(name)[:80]}


def _known(table: str) -> type[Entity] | None:
    return loader.MODELS.get(table)


def _names(model: type[Entity]) -> set[str]:
    return {name for field in model._meta.get_fields() for name in (field.name, getattr(field, "column", None)) if name}


def model_names() -> set[str]:
    """Of this room; two classes cannot share one."""
    return {str(model._meta.model_name) for model in apps.get_app_config("entities").get_models()}


def _reserved() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT word FROM pg_get_keywords() WHERE catcode IN ('R', 'T')")
        return {word for (word,) in cursor.fetchall()}


def _relations() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace")
        return {name for (name,) in cursor.fetchall()} | set(loader.MODELS)


def class_name(singular: str) -> str:
    """`story_place` is a StoryPlace."""
    return "".join(word.capitalize() for word in singular.split("_"))
