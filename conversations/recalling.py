"""Where `recall` looks: the person's own messages, by meaning and by word."""

from __future__ import annotations

from agents.tools import Call
from agents.tools.recall import Hit, register_source
from search.query import search
from search.words import normalised

BESIDES = 5  # hits more than asked for: the question itself is no answer


def own_messages(call: Call, query: str, limit: int) -> list[Hit]:
    """What this person wrote that is near to the query, in whatever conversation.

    Runs as the end user inside the tool call's transaction: row-level security leaves that user's rows and no others.
    """
    query = normalised(query)
    found = search(
        query, user_id=call.user_id, entity_types=["message"], filters={"role": "user"}, limit=limit + BESIDES
    )
    here = str(call.conversation_id)
    answers = [hit for hit in found.hits if not (hit.metadata.get("conversation_id") == here and hit.content in query)]
    return [Hit(hit.content, hit.at.isoformat() if hit.at else "", str(hit.entity_id)) for hit in answers[:limit]]


register_source("messages", own_messages)
