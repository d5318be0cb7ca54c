"""What a tool may be called with: a JSON Schema that is checked when it is registered, and arguments against it.

Arguments come from whoever chats. So patterns are matched by `regex`, which can be interrupted (`re` holds the
interpreter until it is done), and a schema whose evaluation cannot be bounded is refused.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any

import regex
from jsonschema import Draft202012Validator, ValidationError, validators
from jsonschema.exceptions import SchemaError
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

LARGEST = 32 * 1024  # bytes of a schema
DEEPEST = 32
EXPANDED = 20_000  # schemas that apply in place, references followed
REPEATED = 20_000  # atoms of a pattern with its repeats written out, as `regex` compiles them
MATCHED = 4096  # characters of a text that is matched against a pattern
MATCHED_WITHIN = 0.1  # seconds for one match
JUDGED_WITHIN = 2.0  # seconds for all arguments of a call
IN_PLACE = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas")  # judge the same value
TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{(?P<least>\d*)(?:,(?P<most>\d*))?\}|.", re.DOTALL)

_until: ContextVar[float] = ContextVar("until")


class SchemaInvalidError(Exception):
    """The schema cannot be used."""

    permanent = True


def check(schema: Any) -> None:
    """Refuse what is no JSON Schema of an object, what is too large, and what would be fetched from elsewhere."""
    if not isinstance(schema, Mapping):
        raise SchemaInvalidError('schema: a JSON object is needed, for example {"type": "object", "properties": {}}.')
    if len(json.dumps(schema)) > LARGEST or max(depth for depth, _node in _nodes(schema)) > DEEPEST:
        raise SchemaInvalidError(f"schema: at most {LARGEST // 1024} kB and {DEEPEST} levels are allowed.")
    if schema.get("type") != "object":
        raise SchemaInvalidError('schema: arguments have names, so "type" must be "object".')
    try:
        Draft202012Validator.check_schema(schema, format_checker=None)  # patterns: below, and not by `re`
    except SchemaError as error:
        where = "/".join(str(part) for part in error.absolute_path) or "the top"
        raise SchemaInvalidError(f"schema: not a JSON Schema at {where}: {error.message[:200]}.") from error
    _refuse_unbounded(schema)


def problems(schema: Mapping[str, Any], arguments: Any) -> list[str]:
    """What is wrong with these arguments; empty where they fit. The empty registry keeps it off the network."""
    _until.set(time.monotonic() + JUDGED_WITHIN)
    try:
        _refuse_unbounded(schema)  # it may have been saved by an earlier release
        validator = Validator(schema, registry=Registry())
        errors = sorted(validator.iter_errors(arguments), key=lambda error: list(map(str, error.absolute_path)))
    except SchemaInvalidError as error:
        return [str(error)]
    except TimeoutError:
        return ["arguments: it takes too long to compare them with the schema."]
    except RecursionError:
        return ["arguments: nested too deeply."]
    return [
        f"{'/'.join(str(part) for part in error.absolute_path) or 'arguments'}: {error.message[:200]}"
        for error in errors
    ]


# --- evaluation that ends ---


def _pattern(validator: Any, pattern: str, value: Any, _schema: Any) -> Iterator[ValidationError]:
    if not validator.is_type(value, "string"):
        return
    if len(value) > MATCHED:
        yield ValidationError(f"too long for a pattern, at most {MATCHED} characters are compared")
    elif not regex.search(pattern, value, timeout=MATCHED_WITHIN):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


def _reference(validator: Any, reference: str, value: Any, schema: Any) -> Iterator[ValidationError]:
    if time.monotonic() > _until.get():
        raise TimeoutError
    yield from Draft202012Validator.VALIDATORS["$ref"](validator, reference, value, schema) or ()


Validator = validators.extend(
    Draft202012Validator, {"pattern": _pattern, "$ref": _reference, "$dynamicRef": _reference}
)


def _refuse_unbounded(schema: Mapping[str, Any]) -> None:
    """Refuse patterns and references whose evaluation might not end in time, or could not begin."""
    for depth, node in _nodes(schema):
        if "patternProperties" in node:
            raise SchemaInvalidError('schema: patternProperties is not supported, use "propertyNames" with a pattern.')
        if depth > 1 and isinstance(node.get("$id"), str):
            raise SchemaInvalidError("schema: $id may stand at the top only.")
        for key in ("$ref", "$dynamicRef"):
            if not str(node.get(key, "#")).startswith("#"):
                raise SchemaInvalidError(f"schema: {key} may only point into the schema itself, as in #/$defs/name.")
        if isinstance(pattern := node.get("pattern"), str):
            _refuse_pattern(pattern)
    _References(schema).follow_all()


def _refuse_pattern(pattern: str) -> None:
    """Compiled here, so that it can be compiled at every call; the size is known before, or `regex` eats the memory."""
    if _atoms(pattern) > REPEATED:
        raise SchemaInvalidError(f"schema: the pattern {pattern[:100]!r} repeats too much.")
    try:
        regex.compile(pattern)
    except (regex.error, RecursionError, OverflowError, ValueError) as error:
        raise SchemaInvalidError(f"schema: the pattern {pattern[:100]!r} is no regular expression: {error}.") from error


def _atoms(pattern: str) -> int:
    """The atoms of a pattern where `{n}` and `{n,m}` stand for that many copies."""
    groups, last = [0], 1
    for token in TOKEN.finditer(pattern):
        if token["least"] is not None and token[0] != "{}":
            copies = max(int(token["least"] or 1), int(token["most"] or 1), 1)
            groups[-1] += last * (copies - 1)
            last *= copies
        elif token[0] == "(":
            groups.append(0)
        elif token[0] == ")" and len(groups) > 1:
            last = max(1, groups.pop())
            groups[-1] += last
        elif token[0] not in "*+?":
            groups[-1] += 1
            last = 1
    return sum(groups)


class _References:
    """Follows what applies in place: references lead somewhere, never in a circle, and not to too much."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._schema = schema
        self._resolver = Registry().resolver_with_root(DRAFT202012.create_resource(schema))
        self._followed = 0

    def follow_all(self) -> None:
        for _depth, node in _nodes(self._schema):
            self._follow(node, [])

    def _follow(self, node: Any, path: list[int]) -> None:
        if not isinstance(node, Mapping):
            return
        self._followed += 1
        if id(node) in path:
            raise SchemaInvalidError("schema: a reference leads back to itself in a circle.")
        if self._followed > EXPANDED or len(path) > 10 * DEEPEST:
            raise SchemaInvalidError("schema: too many references within references.")
        for inner in self._in_place(node):
            self._follow(inner, [*path, id(node)])

    def _in_place(self, node: Mapping[str, Any]) -> Iterator[Any]:
        for key in ("$ref", "$dynamicRef"):
            if isinstance(reference := node.get(key), str):
                try:
                    yield self._resolver.lookup(reference).contents
                except Unresolvable as error:
                    raise SchemaInvalidError(f"schema: {key} {reference[:100]!r} points nowhere.") from error
        for key in IN_PLACE:
            part = node.get(key)
            if key == "dependentSchemas" and isinstance(part, Mapping):
                yield from part.values()
            elif isinstance(part, list):
                yield from part
            else:
                yield part


def _nodes(node: Any, depth: int = 1) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Every object in it with its depth, until it is deeper than allowed."""
    if isinstance(node, Mapping):
        yield depth, node
    if isinstance(node, Mapping | list) and depth <= DEEPEST:
        for inner in node.values() if isinstance(node, Mapping) else node:
            yield from _nodes(inner, depth + 1)
