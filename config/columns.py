"""Defaults every table shares: ids and times come from the database, so that SQL clients get them, too."""

from __future__ import annotations

import json
from typing import Any

from django.db import models
from django.db.models import Func, Value
from django.db.models.lookups import Exact


def new_id() -> Func:
    """A UUIDv7: unique, and sorting by time."""
    return Func(function="uuidv7", output_field=models.UUIDField())


def clock() -> Func:
    """The clock of the database, the only one that leases, due times and stamps may use."""
    return Func(function="clock_timestamp", output_field=models.DateTimeField())


def is_json_object(column: str) -> Exact:
    """For a CHECK: neither an array nor a scalar, which callers could not merge with."""
    return Exact(Func(column, function="jsonb_typeof", output_field=models.TextField()), Value("object"))


def is_json_array(column: str) -> Exact:
    """For a CHECK: a list."""
    return Exact(Func(column, function="jsonb_typeof", output_field=models.TextField()), Value("array"))


DEEPEST = 64  # levels of metadata that are read; what the API and the imports write has 32
UNREADABLE = {"unreadable": f"nested deeper than {DEEPEST} levels"}


def deeper_than(levels: int, value: Any) -> bool:
    """Do lists and objects stand in each other more than so many times?"""
    layer = [value]
    for _ in range(levels):
        layer = [
            inner
            for one in layer
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
    return any(isinstance(one, dict | list) for one in layer)


def readable(text: str) -> Any:
    """Stored JSON; in place of what no page and no answer could show, a note that says so."""
    if text.count("[") + text.count("{") <= DEEPEST:
        return json.loads(text)
    try:
        value = json.loads(text)
    except RecursionError:
        return dict(UNREADABLE)
    return dict(UNREADABLE) if deeper_than(DEEPEST, value) else value


class ReadableJSONField(models.JSONField):
    """A JSON column that anybody may have written: one row that is nested without end hides no other."""

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        if isinstance(value, str) and self.decoder is None and value.count("[") + value.count("{") > DEEPEST:
            return readable(value)
        return super().from_db_value(value, expression, connection)

    def deconstruct(self) -> Any:
        name, _path, args, kwargs = super().deconstruct()
        return name, "django.db.models.JSONField", args, kwargs
