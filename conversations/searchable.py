"""What is said can be found: every message but what tools answered, by its conversation's person and agent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from conversations.models import Message, Role
from search.declarations import Searchable, declare
from search.results import Hit


def _of_people() -> QuerySet[Message]:
    """Tool results are machine to machine, and long."""
    return Message.objects.exclude(role=Role.TOOL).select_related("conversation")


def _load(ids: Sequence[UUID]) -> Iterable[Message]:
    return _of_people().filter(pk__in=ids)


def _metadata(message: Message) -> dict[str, Any]:
    conversation = message.conversation
    return {
        "role": message.role,
        "agent": str(conversation.agent_id or ""),  # "" is whoever DEFAULT_AGENT names when it is looked for
        "channel": conversation.channel,
        "conversation_id": str(conversation.pk),
        "message_index": message.message_index,
        "author": message.author or None,
    }


def link(hit: Hit) -> str:
    """The very message in its transcript."""
    index = hit.metadata.get("message_index", 0)
    page = reverse("admin:conversations_conversation_change", args=[hit.metadata["conversation_id"]])
    return f"{page}?at={index}#m{index}"


declare(
    Searchable(
        entity_type="message",
        model="conversations.Message",
        label=_("messages"),
        text=lambda message: message.content,
        user=lambda message: message.conversation.user_id,
        metadata=_metadata,
        deleted=lambda message: message.deleted_at is not None,
        link=link,
        watch=("deleted_at",),
        load=_load,
        rows=_of_people,
    )
)
