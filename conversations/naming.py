"""Tells the search page who speaks in messages, and what their conversations are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from conversations.models import Conversation, Role
from search import naming
from search.results import Hit


def titles(hits: Sequence[Hit]) -> Mapping[UUID, str]:
    """The title of each message's conversation, and its place in there."""
    places = {hit.entity_id: (hit.metadata.get("conversation_id"), hit.metadata.get("message_index")) for hit in hits}
    conversations = Conversation.objects.filter(pk__in=filter(None, (_id(where) for where, _index in places.values())))
    named = {str(conversation.pk): str(conversation) for conversation in conversations}
    return {id_: f"{named[where]} #{index}" for id_, (where, index) in places.items() if where in named}


def _id(text: object) -> UUID | None:
    """Rows of the index may be written by others, too."""
    try:
        return UUID(str(text))
    except ValueError:
        return None


naming.TITLES["message"] = titles
naming.CHOICES["role"] = lambda: [(value, label) for value, label in Role.choices if value != Role.TOOL]
