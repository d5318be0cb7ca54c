"""Defaults every table shares: ids and times come from the database, so that SQL clients get them, too."""

from __future__ import annotations

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
