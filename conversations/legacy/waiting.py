"""Messages of the old world that nobody has answered yet: they wait here, as if they had just been said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from conversations import buffering, burst, log
from conversations.legacy.cleaning import encode, fitting
from conversations.models import Conversation

if TYPE_CHECKING:
    from conversations.legacy.talks import Home, Live
    from conversations.legacy.writing import Row


def reopen(home: Home, rows: list[Row]) -> None:
    """Called in the transaction that stored them; the conversations are locked."""
    for row in rows:
        if row.inbound:
            [entry] = log.history(row.conversation, after_index=row.index - 1, limit=1, include_deleted=True)
            buffering.reopen(entry, question_context=row.message.question, interview_step=row.message.step)
        elif row.message.waiting and row.talk.closed and row.talk.live is not None:
            _elsewhere(home, row, row.talk.live)


def _elsewhere(home: Home, row: Row, live: Live) -> None:
    """The chat goes on in another conversation: the question is asked there."""
    channel, chat_id, user_id = live
    found = Conversation.objects.live().filter(channel=channel, chat_id=chat_id, user_id=user_id).first()
    if found is None or burst.is_blank(row.message.content):
        return
    told: dict[str, Any] = {"import": {"batch": str(home.batch), "at": row.created.isoformat()}}
    buffering.receive(
        found.pk, row.message.content, external_id=_name(row), metadata=told, interview_step=row.message.step,
        question_context=row.message.question,
    )  # fmt: skip


def _name(row: Row) -> str:
    parts: list[str | UUID] = ["import", row.talk.chat, row.message.identity]
    return fitting(encode(parts))
