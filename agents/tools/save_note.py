"""A note for later, in whatever store of notes is installed; without one the tool does not exist."""

from __future__ import annotations

from collections.abc import Callable

from agents.tools import Call, tool

Store = Callable[[Call, str, str], str]  # the call, title and text; returns how to name the note
STORE: list[Store] = []


def register_store(store: Store) -> None:
    """Keep notes there. It runs with the rights of the end user, inside the transaction of the call."""
    STORE[:] = [store]


@tool(
    "save_note",
    "Keeps a note about what this person said, linked to this conversation.",
    schema={
        "properties": {
            "title": {"type": "string", "minLength": 1, "maxLength": 200},
            "text": {"type": "string", "minLength": 1, "maxLength": 10_000},
        },
        "required": ["title", "text"],
    },
    available=lambda: bool(STORE),
)
def save_note(call: Call, title: str, text: str) -> dict[str, str]:
    return {"saved": STORE[0](call, title, text)}
