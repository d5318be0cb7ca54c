"""Conversations as callers know them: opened, found, closed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import structlog
from django.db import IntegrityError, connection, transaction

from agents import audit
from conversations import unanswered
from conversations.log import ConversationNotFoundError
from conversations.models import ChatMove, Conversation, Fate, Mode

log = structlog.get_logger(__name__)


def open(  # noqa: A001, PLR0913  read as sessions.open; keyword-only, one per column
    user_id: int,
    *,
    chat_id: int | None = None,
    channel: str = "api",
    agent_id: UUID | None = None,
    title: str = "",
    metadata: Mapping[str, Any] | None = None,
) -> tuple[Conversation, bool]:
    """The live conversation of that chat, or a new one; the second value tells whether it is new."""
    start = {"agent_id": agent_id, "title": title, "metadata": dict(metadata or {})}
    if chat_id is None:
        return _fresh(Conversation.objects.create(user_id=user_id, channel=channel, **start)), True
    chat = {"user_id": user_id, "channel": channel, "chat_id": chat_id}
    try:
        found, created = Conversation.objects.live().get_or_create(**chat, defaults=start)
    except IntegrityError:  # the one that was in our way has been closed since
        found, created = Conversation.objects.live().get_or_create(**chat, defaults=start)
    return (_fresh(found) if created else found), created


def get(conversation_id: UUID) -> Conversation:
    """The conversation, if there is one and the caller may see it."""
    try:
        return Conversation.objects.get(pk=conversation_id)
    except Conversation.DoesNotExist as error:
        raise ConversationNotFoundError(f"There is no conversation {conversation_id}.") from error


def close(conversation_id: UUID, *, by: str) -> bool:
    """End it, with what still waits for an answer: its chat may start a new one. False where it was closed."""
    with transaction.atomic():
        closed = Conversation.objects.live().filter(pk=conversation_id).update(mode=Mode.CLOSED)
        if closed:
            left = unanswered.discard(conversation_id, Fate.CLEARED, rule=by)
            turns = unanswered.withdraw(conversation_id, Fate.CLEARED, rule=by)
            told = {"buffered": left, "turns": turns}
            audit.record("conversation.close", by, ("conversation", conversation_id), told)
    if closed:
        log.info("conversation closed", conversation=str(conversation_id), by=by)
    return bool(closed)


def _fresh(conversation: Conversation) -> Conversation:
    """Read back what the database filled in."""
    conversation.refresh_from_db(fields=["created_at", "updated_at"])
    return conversation


MOVED = "INSERT INTO chat_moves (channel, old_chat_id, new_chat_id) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"
MOVE = """
UPDATE conversations AS moved SET chat_id = %(new)s, updated_at = clock_timestamp()
WHERE channel = %(channel)s AND chat_id = %(old)s AND (mode = 'closed' OR NOT EXISTS (
    SELECT FROM conversations AS there WHERE there.channel = moved.channel AND there.chat_id = %(new)s
        AND there.user_id = moved.user_id AND there.mode <> 'closed'))
"""


def move_chat(channel: str, old_chat_id: int, new_chat_id: int) -> int:
    """The chat goes on under a new id, and its conversations with it. How many moved; none where it was known."""
    values: dict[str, Any] = {"channel": channel, "old": old_chat_id, "new": new_chat_id}
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(MOVED, [channel, old_chat_id, new_chat_id])
        if not cursor.rowcount:
            return 0
        there_too = Conversation.objects.live().filter(channel=channel, chat_id=new_chat_id).values("user_id")
        old_ones = Conversation.objects.live().filter(channel=channel, chat_id=old_chat_id, user_id__in=there_too)
        for conversation_id in list(old_ones.values_list("pk", flat=True)):
            close(conversation_id, by=channel)  # the person writes in the new chat already
        cursor.execute(MOVE, values)
        moved: int = cursor.rowcount
        audit.record("chat.move", channel, ("chat", old_chat_id), {"to": new_chat_id, "conversations": moved})
    log.info("chat moved", channel=channel, conversations=moved)
    return moved


def chat_now(channel: str, chat_id: int) -> int:
    """The id a chat goes by now."""
    moved = ChatMove.objects.filter(channel=channel, old_chat_id=chat_id).values_list("new_chat_id", flat=True).first()
    return chat_id if moved is None else moved
