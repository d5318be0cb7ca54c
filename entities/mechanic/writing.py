"""Makes the model files: a whole one for a new table, lines set into the one that is there for everything else.

Lines are set in by the places of the syntax tree, so that comments and order stay as people left them (docs/adr/0122).
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Sequence

from entities.mechanic import printing
from entities.mechanic.documents import AddChoice, AddTable, Choice, Column, Document, class_name

LONGEST_INDEX = 30  # characters Django allows in the name of an index
Models = dict[str, str]  # the class of each table

IMPORTS = (
    "from __future__ import annotations",
    "",
    "from django.db import models",
    "from django.db.models import Q",
    "from django.utils.translation import gettext_lazy as _",
    "",
    "from config.columns import is_json_array",
    "from entities.base import Entity",
)


def files(document: Document, existing: dict[str, str], classes: Models) -> dict[str, str]:
    """The text of every file of entities/schema/ that is new or changes, by table."""
    known = classes | {table.name: class_name(table.singular) for table in document.add_table}
    made = {table.name: _new_file(table, document, known) for table in document.add_table}
    changed: dict[str, str] = {}
    for column in document.add_column:
        changed[column.table] = add_column(
            changed.get(column.table, existing[column.table]), column, column.table, known
        )
    for choice in document.add_choice:
        changed[choice.table] = add_choice(changed.get(choice.table, existing[choice.table]), choice)
    for index in document.add_index:
        if index.table not in made:
            text = changed.get(index.table, existing[index.table])
            changed[index.table] = _into_list(text, "indexes", _index(index.table, index.columns))
    return made | changed


# --- a new table ---
def _new_file(table: AddTable, document: Document, known: Models) -> str:
    name = class_name(table.singular)
    label = table.label or table.singular.replace("_", " ")
    plural = table.plural or table.name.replace("_", " ")
    said = (table.description or f"{plural.capitalize()}.").rstrip(".") + "."
    choices = [_choices_class(column, known) for column in table.columns if column.choices]
    fields = [_field(column, table.name, known, new=True) for column in table.columns]
    constraints = [one for column in table.columns for one in _constraints(column, table.name)]
    indexes = [_index(table.name, one.columns) for one in document.add_index if one.table == table.name]
    meta = [
        f"        db_table = {printing.text(table.name)}",
        f"        verbose_name = _({printing.text(label)})",
        f"        verbose_name_plural = _({printing.text(plural)})",
        *_listed("constraints", constraints),
        *_listed("indexes", indexes),
    ]
    body = "\n".join([*fields, "", "    class Meta:", *meta])
    head = "\n".join([f'"""{_in_quotes(said)}"""', "", *IMPORTS])
    one = f'class {name}(Entity):\n    """One of the {_in_quotes(plural)}."""\n\n{body}\n'
    text = "\n\n\n".join([head, *(choice.rstrip("\n") for choice in choices), one])
    return _without_unused(text)


def _in_quotes(said: str) -> str:
    """A text as a docstring has it: without quotes that would end it, and escapes."""
    return said.replace("\\", "").replace('"', "'")


def _listed(name: str, items: Sequence[str]) -> list[str]:
    if not items:
        return []
    return [f"        {name} = [", *(printing.call(item, 12, after=",") for item in items), "        ]"]


def _without_unused(text: str) -> str:
    """Imports that nothing uses go."""
    body = text.partition("from entities.base import Entity")[2]
    if "Q(" not in body:
        text = text.replace("from django.db.models import Q\n", "")
    if "is_json_array(" not in body:
        text = text.replace("from config.columns import is_json_array\n", "")
    return text


# --- columns ---
def add_column(text: str, column: Column, table: str, known: Models) -> str:
    """The file with one more column, behind the last one."""
    tree = ast.parse(text)
    model = _model(tree)
    fields = [node for node in model.body if isinstance(node, ast.Assign | ast.AnnAssign)]
    last = fields[-1] if fields else model.body[0]
    text = _after(text, last.end_lineno or last.lineno, _field(column, table, known))
    for constraint in _constraints(column, table):
        text = _into_list(text, "constraints", constraint)
    if column.type == "reference":
        text = _into_list(text, "indexes", _index(table, [column.name]))
    if column.choices:
        text = _before_model(text, _choices_class(column, known))
    return _with_imports(text)


def _field(column: Column, table: str, known: Models, *, new: bool = False) -> str:
    kind, options = _kind(column)
    if new and column.type == "reference":
        options = []  # an index on an empty table costs nothing
    label = f"_({printing.text(column.label or column.name.replace('_', ' '))})"
    arguments = [f'"entities.{known.get(column.to, "")}"', "models.SET_NULL"] if column.type == "reference" else [label]
    options += _absent(column)
    if column.type == "reference":
        options += [f"related_name={printing.text(f'{table}_by_{column.name}')}", f"verbose_name={label}"]
    return printing.call(f"models.{kind}({', '.join([*arguments, *options])})", 4, before=f"{column.name} = ")


def _kind(column: Column) -> tuple[str, list[str]]:
    match column.type:
        case "string":
            return "CharField", [f"max_length={column.max_length}"]
        case "choice":
            longest = max([50, *(len(choice.value) for choice in column.choices)])
            return "CharField", [f"max_length={longest}", f"choices={_choices_name(column)}"]
        case "decimal":
            return "DecimalField", [
                f"max_digits={max(column.digits, column.decimals)}",
                f"decimal_places={column.decimals}",
            ]
        case "list":
            return "JSONField", ["default=list", "db_default=[]", "blank=True"]
        case "reference":
            return "ForeignKey", ["db_index=False"]
    names = {"text": "TextField", "integer": "IntegerField", "bigint": "BigIntegerField", "float": "FloatField",
             "boolean": "BooleanField", "date": "DateField", "time": "TimeField", "datetime": "DateTimeField",
             "uuid": "UUIDField"}  # fmt: skip
    return names[column.type], []


def _absent(column: Column) -> list[str]:
    """What a row has where nobody gave a value."""
    if column.type == "list" or (column.required and column.default is None):
        return []
    if column.default is None:
        return ["null=True", "blank=True"]
    shown = printing.text(column.default) if isinstance(column.default, str) else repr(column.default)
    if column.type == "decimal":
        shown = repr(float(column.default))
    blank = ["blank=True"] if column.default == "" else []
    return [f"default={shown}", f"db_default={shown}", *blank]


def _constraints(column: Column, table: str) -> list[str]:
    name = printing.text(_short(f"{table}_{column.name}_known", 63))
    if column.choices:
        return [f"models.CheckConstraint(condition=Q({column.name}__in={_choices_name(column)}.values), name={name})"]
    if column.required and column.type in {"string", "text"}:
        name = printing.text(_short(f"{table}_{column.name}_given", 63))
        return [f'models.CheckConstraint(condition=~Q({column.name}=""), name={name})']
    if column.type == "list":
        name = printing.text(_short(f"{table}_{column.name}_list", 63))
        return [f'models.CheckConstraint(condition=is_json_array("{column.name}"), name={name})']
    return []


# --- choices ---
def _choices_name(column: Column) -> str:
    return f"{class_name(column.name)}Choice"


def _choices_class(column: Column, _known: Models) -> str:
    lines = [_choice_line(choice, taken) for choice, taken in _members(column.choices, set())]
    said = f'    """What {column.name.replace("_", " ")} may be."""'
    return "\n".join([f"class {_choices_name(column)}(models.TextChoices):", said, "", *lines, "", "", ""])


def _members(choices: Sequence[Choice], taken: set[str]) -> list[tuple[Choice, str]]:
    found = []
    for choice in choices:
        name = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in choice.value).upper()
        name = name.strip("_") or "CHOICE"
        name = f"N{name}" if name[0].isdigit() else name
        while name in taken or name in {"NONE", "NAMES", "VALUES", "LABELS", "CHOICES"}:
            name += "_1"
        taken.add(name)
        found.append((choice, name))
    return found


def _choice_line(choice: Choice | AddChoice, member: str) -> str:
    value, label = printing.text(choice.value), printing.text(choice.label or choice.value)
    line = f"    {member} = {value}, _({label})"
    if len(line) <= printing.WIDTH:
        return line
    return printing.call(f"({value}, _({label}))", 4, before=f"{member} = ")


def add_choice(text: str, choice: AddChoice) -> str:
    """The file with one more value in the class of the column's choices."""
    tree = ast.parse(text)
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    field = next(node.value for node in _model(tree).body if isinstance(node, ast.Assign) and _is(node, choice.column))
    named = next(one.value for one in field.keywords if one.arg == "choices")  # type: ignore[attr-defined]
    holder = classes[named.id if isinstance(named, ast.Name) else named.value.id]
    members = [node for node in holder.body if isinstance(node, ast.Assign)]
    taken = {node.targets[0].id for node in members if isinstance(node.targets[0], ast.Name)}
    ((_one, member),) = _members([Choice(value=choice.value, label=choice.label)], taken)
    return _after(text, members[-1].end_lineno or members[-1].lineno, _choice_line(choice, member))


# --- places in a file ---
def _model(tree: ast.Module) -> ast.ClassDef:
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and any(getattr(base, "id", "") == "Entity" for base in node.bases):
            return node
    raise ValueError("The file has no model on Entity.")


def _is(node: ast.stmt, name: str) -> bool:
    """Does this line give something that name?"""
    return isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == name


def _after(text: str, line: int, new: str) -> str:
    lines = text.splitlines()
    return "\n".join([*lines[:line], new, *lines[line:]]) + "\n"


def _into_list(text: str, name: str, item: str) -> str:
    """One more item of Meta.indexes or Meta.constraints; the list is made where there is none."""
    model = _model(ast.parse(text))
    meta = next(node for node in model.body if isinstance(node, ast.ClassDef) and node.name == "Meta")
    found = next((node for node in meta.body if isinstance(node, ast.Assign) and _is(node, name)), None)
    if found is None:
        return _after(text, meta.end_lineno or meta.lineno, "\n".join(_listed(name, [item])))
    assert isinstance(found.value, ast.List)  # noqa: S101  the shape at the top of entities/base.py
    if found.lineno == found.end_lineno:
        items = [ast.unparse(one) for one in found.value.elts]
        lines = text.splitlines()
        new = "\n".join(_listed(name, [*items, item]))
        return "\n".join([*lines[: found.lineno - 1], new, *lines[found.lineno :]]) + "\n"
    return _after(text, (found.end_lineno or found.lineno) - 1, printing.call(item, 12, after=","))


def _before_model(text: str, new: str) -> str:
    return _after(text, _model(ast.parse(text)).lineno - 1, new.rstrip("\n") + "\n\n")


def _with_imports(text: str) -> str:
    """The imports that what was set in needs, where the other files have them."""
    needed = {
        "Q(": ("from django.db import models", "from django.db.models import Q"),
        "is_json_array(": ("from entities.base import Entity", "from config.columns import is_json_array"),
    }
    for used, (beside, line) in needed.items():
        if used not in text or f"{line}\n" in text:
            continue
        known = next((one for one in text.splitlines() if one.startswith("from config.columns import ")), None)
        if used == "is_json_array(" and known:
            names = sorted({*known.removeprefix("from config.columns import ").split(", "), "is_json_array"})
            text = text.replace(known, "from config.columns import " + ", ".join(names))
        elif used == "is_json_array(":
            text = text.replace(beside, f"{line}\n{beside}", 1)
        else:
            text = text.replace(beside, f"{beside}\n{line}", 1)
    return text


def _index(table: str, columns: Sequence[str]) -> str:
    name = _short("_".join([table, *columns]), LONGEST_INDEX)
    listed = ", ".join(printing.text(column) for column in columns)
    return f"models.Index(fields=[{listed}], name={printing.text(name)})"


def _short(name: str, longest: int) -> str:
    """The name, or its beginning and a digest of the whole."""
    if len(name) <= longest:
        return name
    return f"{name[: longest - 7]}_{hashlib.sha256(name.encode()).hexdigest()[:6]}"
