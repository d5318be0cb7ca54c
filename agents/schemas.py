"""What a tool may be called with: a JSON Schema that is checked when it is registered, and arguments against it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from referencing import Registry

LARGEST = 32 * 1024  # bytes of a schema
DEEPEST = 32


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
    for _depth, node in _nodes(schema):
        for key in ("$ref", "$dynamicRef"):
            if not str(node.get(key, "#")).startswith("#"):
                raise SchemaInvalidError(f"schema: {key} may only point into the schema itself, as in #/$defs/name.")
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        where = "/".join(str(part) for part in error.absolute_path) or "the top"
        raise SchemaInvalidError(f"schema: not a JSON Schema at {where}: {error.message[:200]}.") from error


def problems(schema: Mapping[str, Any], arguments: Any) -> list[str]:
    """What is wrong with these arguments; empty where they fit. The empty registry keeps it off the network."""
    validator = Draft202012Validator(schema, registry=Registry())
    return [
        f"{'/'.join(str(part) for part in error.absolute_path) or 'arguments'}: {error.message[:200]}"
        for error in sorted(validator.iter_errors(arguments), key=lambda error: list(map(str, error.absolute_path)))
    ]


def _nodes(node: Any, depth: int = 1) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Every object in it with its depth, until it is deeper than allowed."""
    if isinstance(node, Mapping):
        yield depth, node
    if isinstance(node, Mapping | list) and depth <= DEEPEST:
        for inner in node.values() if isinstance(node, Mapping) else node:
            yield from _nodes(inner, depth + 1)
