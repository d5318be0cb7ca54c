"""Conversations as callers know them: opened, found, closed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import structlog
from django.db import IntegrityError, transaction

from agents import audit
from conversations import unanswered
from conversations.log import ConversationNotFoundError, clear
from conversations.models import Conversation, Fate, Mode

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


def start_over(conversation_id: UUID, *, by: str) -> Conversation:
    """Mark all that was said deleted, end the conversation, and open the next one of the same chat."""
    with transaction.atomic():
        before = get(conversation_id)
        clear(conversation_id, by=by)
        close(conversation_id, by=by)
        return open(before.user_id, chat_id=before.chat_id, channel=before.channel, agent_id=before.agent_id)[0]


def _fresh(conversation: Conversation) -> Conversation:
    """Read back what the database filled in."""
    conversation.refresh_from_db(fields=["created_at", "updated_at"])
    return conversation
