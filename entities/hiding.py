"""What a reverted change added is out of sight, in admin and forms; its rows and columns stay where they are."""

from __future__ import annotations

import time

from entities.models import SchemaChange
from entities.models.schema_change import State

HOLDS = 1.0  # seconds an answer is good for: a page asks many times

_known: tuple[float, frozenset[str]] = (float("-inf"), frozenset())


def hidden() -> frozenset[str]:
    """Tables, and columns as `table.column`."""
    global _known
    if time.monotonic() - _known[0] > HOLDS:
        reverted = SchemaChange.objects.filter(state=State.REVERTED).only("document")
        _known = (time.monotonic(), frozenset(name for change in reverted for name in added_by(change)))
    return _known[1]


def added_by(change: SchemaChange) -> set[str]:
    """What the change's document asked for."""
    asked = change.document
    columns = {f"{one['table']}.{one['name']}" for one in asked.get("add_column", [])}
    return columns | {str(one["name"]) for one in asked.get("add_table", [])}
