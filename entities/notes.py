"""Where `save_note` keeps what an agent notes down: in `notes`, as a row of the person it talks to."""

from __future__ import annotations

from agents.tools import Call
from agents.tools.save_note import register_store
from entities import keeping, loader
from entities.errors import EntityGoneError

TABLE = "notes"


def keep(call: Call, title: str, text: str) -> str:
    """Runs with the rights of the end user, in the transaction of the call; the lineage names turn and message."""
    model = loader.MODELS.get(TABLE)
    if model is None:
        raise EntityGoneError("There is no table of notes.")
    values = {
        "title": title,
        "text": text,
        "created_by": call.user_id,
        "conversation_id": call.conversation_id,
        "turn_id": call.turn_id,
        "message_id": call.message_id,
    }
    return f"note {keeping.create(model, values=values, by=f'agent {call.agent}'.strip()).pk}"


def register() -> None:
    """Without a table of notes the tool does not exist."""
    if TABLE in loader.MODELS:
        register_store(keep)
