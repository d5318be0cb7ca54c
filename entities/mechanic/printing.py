"""Prints Python as the formatter of the project would, for the few shapes that model files and migrations have."""

from __future__ import annotations

import ast
from collections.abc import Callable

WIDTH = 120


def call(source: str, indent: int, *, before: str = "", after: str = "") -> str:
    """An expression behind `before`, at that indent; lines that are too long are broken at brackets."""
    return _broken(ast.parse(source, mode="eval").body, indent, before, after)


def text(value: str) -> str:
    """A string in double quotes, or in single ones where that saves escapes."""
    if '"' in value and "'" not in value:
        return repr(value)
    plain = repr(value + "'")[1:-1] if '"' not in value else repr(value)[1:-1].replace("\\'", "'").replace('"', '\\"')
    return f'"{plain[:-1] if chr(34) not in value else plain}"'


def _flat(node: ast.expr) -> str:  # noqa: PLR0911  one line per shape
    match node:
        case ast.Constant(value=str(value)):
            return text(value)
        case ast.Constant():
            return repr(node.value)
        case ast.Name():
            return node.id
        case ast.Attribute():
            return f"{_flat(node.value)}.{node.attr}"
        case ast.UnaryOp(op=ast.Invert()):
            return f"~{_flat(node.operand)}"
        case ast.UnaryOp(op=ast.USub()):
            return f"-{_flat(node.operand)}"
        case ast.Call() | ast.List() | ast.Tuple() | ast.Dict():
            opening, items, closing = _parts(node)
            inside = ", ".join(item(_flat) for item in items)
            if isinstance(node, ast.Tuple) and len(items) == 1:
                inside += ","
            return f"{opening}{inside}{closing}"
    return ast.unparse(node)


Item = Callable[[Callable[[ast.expr], str]], str]


def _parts(node: ast.expr) -> tuple[str, list[Item], str]:
    """Opening bracket, what is in it, and the closing one."""

    def of(value: ast.expr, name: str = "") -> Item:
        return lambda show: name + show(value)

    match node:
        case ast.Call():
            named = [of(one.value, f"{one.arg}=" if one.arg else "**") for one in node.keywords]
            return f"{_flat(node.func)}(", [of(one) for one in node.args] + named, ")"
        case ast.List():
            return "[", [of(one) for one in node.elts], "]"
        case ast.Tuple():
            return "(", [of(one) for one in node.elts], ")"
        case ast.Dict():
            pairs = [(key, value) for key, value in zip(node.keys, node.values, strict=True) if key]
            return "{", [of(value, f"{_flat(key)}: ") for key, value in pairs], "}"
    return "", [], ""


def _broken(node: ast.expr, indent: int, before: str, after: str) -> str:
    pad = " " * indent
    line = f"{pad}{before}{_flat(node)}{after}"
    opening, items, closing = _parts(node)
    if len(line) <= WIDTH or not items:
        return line
    inner = " " * (indent + 4) + ", ".join(item(_flat) for item in items)
    if isinstance(node, ast.Call) and len(inner) <= WIDTH:
        return f"{pad}{before}{opening}\n{inner}\n{pad}{closing}{after}"
    return _one_each(node, indent, before, after)


def _one_each(node: ast.expr, indent: int, before: str, after: str) -> str:
    pad = " " * indent
    opening, items, closing = _parts(node)
    names = [item(lambda _value: "") for item in items]
    shown = [_value(item) for item in items]
    lines = [_broken(value, indent + 4, name, ",") for name, value in zip(names, shown, strict=True)]
    return f"{pad}{before}{opening}\n" + "\n".join(lines) + f"\n{pad}{closing}{after}"


def _value(item: Item) -> ast.expr:
    """The expression behind an item, without its name."""
    found: list[ast.expr] = []

    def keep(value: ast.expr) -> str:
        found.append(value)
        return ""

    item(keep)
    return found[0]
