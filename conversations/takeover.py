"""Staff in the place of the agent: taking over, answering, handing back."""

from __future__ import annotations

from uuid import UUID

import structlog
from django.db import transaction

from agents import audit
from conversations import buffering, log, outbox, unanswered
from conversations.errors import ConversationClosedError
from conversations.models import Conversation, Fate, Message, Mode
from conversations.tally import counts_refusals

logger = structlog.get_logger(__name__)


def take_over(conversation_id: UUID, *, by: str) -> bool:
    """From here on staff answer: what waits is left to them, and a draft being written is not sent."""
    with transaction.atomic():
        buffering.lock(conversation_id)
        if not _switch(conversation_id, Mode.AUTO, Mode.MANUAL):
            return False
        left = unanswered.discard(conversation_id, Fate.STAFF, rule=by)
        turns = unanswered.withdraw(conversation_id, Fate.STAFF, rule=by)
        told = {"buffered": left, "turns": turns}
        audit.record("conversation.take_over", by, ("conversation", conversation_id), told)
    logger.info("conversation taken over", conversation=str(conversation_id), by=by)
    return True


def hand_back(conversation_id: UUID, *, by: str) -> bool:
    """The agent answers again, from the next message on: what staff dealt with is context to it, not a task."""
    with transaction.atomic():
        buffering.lock(conversation_id)
        if not _switch(conversation_id, Mode.MANUAL, Mode.AUTO):
            return False
        audit.record("conversation.hand_back", by, ("conversation", conversation_id))
    logger.info("conversation handed back", conversation=str(conversation_id), by=by)
    return True


@counts_refusals
def reply(conversation_id: UUID, content: str, *, by: str, external_id: str | None = None) -> log.Entry:
    """Say something to the person as staff, through the same outbox. A repeated `external_id` changes nothing."""
    with transaction.atomic():
        buffering.lock(conversation_id)
        if _is_closed(conversation_id) and not _said(conversation_id, external_id):
            raise ConversationClosedError
        entry = log.append(conversation_id, "assistant", content, author=by, external_id=external_id)
        if entry.repeated:
            return entry
        outbox.enqueue(entry)
        told = {"message": str(entry.id), "message_index": entry.message_index}
        audit.record("conversation.reply", by, ("conversation", conversation_id), told)
    return entry


def _is_closed(conversation_id: UUID) -> bool:
    return Conversation.objects.filter(pk=conversation_id, mode=Mode.CLOSED).exists()


def _said(conversation_id: UUID, external_id: str | None) -> bool:
    """Who repeats a reply that arrived is told so, also when the conversation was closed in between."""
    if external_id is None:
        return False
    return Message.objects.filter(conversation_id=conversation_id, external_id=external_id).exists()


def _switch(conversation_id: UUID, before: Mode, after: Mode) -> bool:
    return bool(Conversation.objects.filter(pk=conversation_id, mode=before).update(mode=after))
