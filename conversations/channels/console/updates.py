"""What the terminal tells, as verbs: a line that was sent, and that one is being written."""

from __future__ import annotations

import os
import uuid
from typing import Any
from uuid import UUID

from agents.text import storable
from conversations import sessions
from conversations.buffering import Received, receive, typing
from conversations.channels import Order
from conversations.models import Conversation
from conversations.outage import Heard

CHANNEL = "console"


def conversation(order: Order) -> Conversation:
    """One conversation per person and agent, whichever terminal it is continued from."""
    return sessions.open(who(order), chat_id=room(order.agent_id), channel=CHANNEL, agent_id=order.agent_id)[0]


def who(order: Order) -> int:
    return os.getuid() if order.user_id is None else order.user_id


def room(agent_id: UUID | None) -> int:
    """Terminals have no chats: the agent is where one goes to. 63 bits of its random id; 0 is the default agent."""
    return agent_id.int & (2**63 - 1) if agent_id else 0


def written(text: str) -> dict[str, Any]:
    """A line as an update, with an id of its own, so that trying again stores it once."""
    return {"id": str(uuid.uuid4()), "text": storable(text)}


def take(order: Order, update: dict[str, Any]) -> Received:
    return receive(conversation(order).id, update["text"], external_id=update["id"])


def heard(order: Order, update: dict[str, Any]) -> Heard:
    """The same for a time without a database."""
    return Heard(
        user_id=who(order), chat_id=room(order.agent_id), external_id=update["id"], content=update["text"],
    )  # fmt: skip


def still_writing(conversation_id: UUID) -> None:
    typing(conversation_id, "typing")
