"""Messages of the old world that nobody has answered yet: they wait here, as if they had just been said."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from conversations import buffering, burst, log
from conversations.legacy.cleaning import encode, fitting
from conversations.legacy.records import Clean
from conversations.legacy.talks import Home, Live, Talk
from conversations.models import Conversation


@dataclass(slots=True)
class Waiting:
    """A message that waited in the old world, with its place in the log. `here`: it may wait in its conversation."""

    talk: Talk
    message: Clean
    index: int
    created: datetime
    here: bool


def reopen(home: Home, waiting: list[Waiting]) -> None:
    """Called in the transaction that stored them; the conversations are locked."""
    for one in waiting:
        if one.here and one.talk.conversation is not None:
            [entry] = log.history(one.talk.conversation, after_index=one.index - 1, limit=1, include_deleted=True)
            buffering.reopen(entry, question_context=one.message.question, interview_step=one.message.step)
        elif one.talk.closed and one.talk.live is not None:
            _elsewhere(home, one, one.talk.live)


def _elsewhere(home: Home, one: Waiting, live: Live) -> None:
    """The chat goes on in another conversation: the question is asked there."""
    channel, chat_id, user_id = live
    found = Conversation.objects.live().filter(channel=channel, chat_id=chat_id, user_id=user_id).first()
    if found is None or burst.is_blank(one.message.content):
        return
    told: dict[str, Any] = {"import": {"batch": str(home.batch), "at": one.created.isoformat()}}
    buffering.receive(
        found.pk, one.message.content, external_id=_name(one), metadata=told, interview_step=one.message.step,
        question_context=one.message.question,
    )  # fmt: skip


def _name(one: Waiting) -> str:
    parts: list[str | UUID] = ["import", one.talk.chat, one.message.identity]
    return fitting(encode(parts))
