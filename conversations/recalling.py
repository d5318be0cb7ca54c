"""Where `recall` looks: the person's own messages, by meaning and by word."""

from __future__ import annotations

from django.conf import settings

from agents.tools import Call
from agents.tools.recall import Hit, register_source
from config.statements import ask
from search.query import MOST, search
from search.words import normalised

# The burst that is answered, and the history before it; more of a long burst stands in them than of a short one.
SHOWN = """
SELECT id FROM messages WHERE conversation_id = %s AND deleted_at IS NULL ORDER BY message_index DESC
LIMIT %s + coalesce((SELECT jsonb_array_length(input) FROM turns WHERE id = %s), 0)
"""


def own_messages(call: Call, query: str, limit: int) -> list[Hit]:
    """What this person wrote that is near to the query, in whatever conversation, and the model does not see anyway.

    Runs as the end user inside the tool call's transaction: row-level security leaves that user's rows and no others.
    """
    shown = {id_ for (id_,) in ask(SHOWN, (call.conversation_id, settings.INTERVIEW_HISTORY_LIMIT, call.turn_id))}
    most = min(limit + len(shown), MOST)
    found = search(
        normalised(query), user_id=call.user_id, entity_types=["message"], filters={"role": "user"}, limit=most
    )
    answers = [hit for hit in found.hits if hit.entity_id not in shown]
    return [Hit(hit.content, hit.at.isoformat() if hit.at else "", str(hit.entity_id)) for hit in answers[:limit]]


register_source("messages", own_messages)
