"""A wish for a table, a column, an index or a choice: kept for staff, who decide. The agent can do no more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agents.tools import Call, tool

Propose = Callable[[Call, dict[str, Any]], dict[str, Any]]
PROPOSERS: list[Propose] = []


def register(propose: Propose) -> None:
    """Keep proposals there. It runs with the rights of the end user, inside the transaction of the call."""
    PROPOSERS[:] = [propose]


@tool(
    "propose_schema_change",
    "Proposes to add a table, a column, an index or a choice. Staff decide; nothing changes by itself.",
    schema={
        "properties": {
            "title": {"type": "string", "minLength": 3, "maxLength": 100},
            "add_table": {"type": "array", "items": {"type": "object"}, "maxItems": 5},
            "add_column": {"type": "array", "items": {"type": "object"}, "maxItems": 20},
            "add_choice": {"type": "array", "items": {"type": "object"}, "maxItems": 20},
            "add_index": {"type": "array", "items": {"type": "object"}, "maxItems": 5},
        },
        "required": ["title"],
    },
    available=lambda: bool(PROPOSERS),
)
def propose_schema_change(call: Call, **document: Any) -> dict[str, Any]:
    return PROPOSERS[0](call, document)
