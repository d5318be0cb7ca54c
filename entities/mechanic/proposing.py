"""What an agent's tool may do: propose, in the words of a document, and hear why not."""

from __future__ import annotations

from typing import Any

from agents.tools import Call, propose_schema_change
from entities.mechanic import changes
from entities.mechanic.documents import DocumentError


def propose(call: Call, document: dict[str, Any]) -> dict[str, Any]:
    """Kept under the agent's name, so that staff see whose wish it is."""
    try:
        title = changes.propose_for_agent(document, by=f"agent:{call.agent}"[:100])
    except DocumentError as error:
        return {"refused": error.problems[:10]}
    return {"proposed": title, "next": "Staff decide whether it is made."}


def register() -> None:
    propose_schema_change.register(propose)
