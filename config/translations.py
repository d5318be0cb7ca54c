"""Which strings of ours and of the admin's theme want a translation, found without gettext's tools.

`makemessages` needs xgettext, which a new machine does not have, and never looks into installed packages, where the
theme keeps its strings and ships no translation of them (ADR 0030).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from gettext import GNUTranslations
from importlib.util import find_spec
from pathlib import Path

from django.utils.translation.template import templatize

from config.env import ROOT

ROOMS = ("config", "search", "agents", "conversations", "entities")
THEME = "unfold"
# What a call's arguments are: c a context, s the singular, p the plural.
FUNCTIONS = {
    "_": "s",
    "gettext": "s",
    "now_gettext": "s",  # where a module has taken `_` for the lazy one
    "gettext_lazy": "s",
    "gettext_noop": "s",
    "ngettext": "sp",
    "ngettext_lazy": "sp",
    "pgettext": "cs",
    "pgettext_lazy": "cs",
    "npgettext": "csp",
    "npgettext_lazy": "csp",
}
CALL = re.compile(r"\b(?:" + "|".join(FUNCTIONS) + r")\(")


@dataclass(frozen=True, order=True)
class Text:
    """One translatable string as the catalogue knows it."""

    singular: str
    plural: str = ""
    context: str = ""


def ours() -> dict[Text, set[str]]:
    """Every translatable string of the rooms that Django does not bring along, each with the files it is in."""
    return _wanting(_collect(ROOT, [ROOT / room for room in ROOMS]))


def theme() -> dict[Text, set[str]]:
    """The strings of the installed theme that Django itself does not translate."""
    folder = _package(THEME)
    return _wanting(_collect(folder.parent, [folder]))


def _wanting(found: dict[Text, set[str]]) -> dict[Text, set[str]]:
    known = set(_django("ru"))  # without a context; with one it is another string, such as a noun beside a verb
    return {text: files for text, files in found.items() if text.context or text.singular not in known}


def _collect(base: Path, folders: list[Path]) -> dict[Text, set[str]]:
    found: dict[Text, set[str]] = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.suffix not in {".py", ".html", ".txt"}:
                continue
            source = path.read_text()
            texts = _in_python(source) if path.suffix == ".py" else _in_template(source, path.name)
            for text in texts:
                found.setdefault(text, set()).add(str(path.relative_to(base)))
    return found


def _in_python(source: str) -> Iterator[Text]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and (text := _of_call(node)):
            yield text


def _in_template(source: str, name: str) -> Iterator[Text]:
    """Django turns a template into lines of calls with its own tags blotted out; read the calls from there."""
    code = templatize(source, origin=name)
    for match in CALL.finditer(code):
        if (call := _first_call(code[match.start() :])) and (text := _of_call(call)):
            yield text


def _first_call(code: str) -> ast.Call | None:
    for end in (index + 1 for index, letter in enumerate(code) if letter == ")"):
        try:
            expression = ast.parse(code[:end], mode="eval").body
        except SyntaxError:
            continue  # a bracket inside the text
        return expression if isinstance(expression, ast.Call) else None
    return None


def _of_call(node: ast.Call) -> Text | None:
    name = getattr(node.func, "id", None) or getattr(node.func, "attr", None)
    shape = FUNCTIONS.get(str(name), "")
    arguments = [value.value for value in node.args[: len(shape)] if isinstance(value, ast.Constant)]
    if not shape or len(arguments) < len(shape) or not all(isinstance(value, str) for value in arguments):
        return None
    parts = dict(zip(shape, arguments, strict=True))
    return Text(str(parts["s"]), str(parts.get("p", "")), str(parts.get("c", "")))


def _django(language: str) -> Iterator[str]:
    root = _package("django")
    for app in ("conf", "contrib/admin", "contrib/auth", "contrib/contenttypes", "contrib/sessions"):
        with (root / app / "locale" / language / "LC_MESSAGES" / "django.mo").open("rb") as file:
            catalogue: dict[object, str] = GNUTranslations(file)._catalog  # type: ignore[attr-defined]
        for key in catalogue:
            yield str(key[0] if isinstance(key, tuple) else key).split("\x04")[-1]


def _package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(name)
    return Path(spec.submodule_search_locations[0])
