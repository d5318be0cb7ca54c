"""Dialogue before a turn, in the order in which it was led: a burst, its reply, the next burst.

Indexes say when a message arrived, not what it was an answer to: while a turn runs, the person may write the next burst
before the reply to the first is stored. So an answered message stands before its reply, whatever lies between them.
"""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from agents.request import Said
from config.statements import ask

# Left out are the burst itself, what still waits for its own turn, and what no model accepts (fates.SET_ASIDE).
BEFORE = """
SELECT newest.role, newest.content
FROM (
    SELECT messages.id, messages.message_index, messages.role, messages.content, fate.turn_id
    FROM messages LEFT JOIN message_fates AS fate ON fate.message_id = messages.id
    WHERE messages.conversation_id = %s AND messages.deleted_at IS NULL AND messages.id <> ALL (%s::uuid[])
        AND NOT (messages.inbound AND fate.message_id IS NULL) AND fate.rule IS DISTINCT FROM 'set_aside'
    ORDER BY messages.message_index DESC LIMIT %s
) AS newest
LEFT JOIN turns ON turns.id = newest.turn_id
LEFT JOIN messages AS reply ON reply.id = turns.reply_id
ORDER BY coalesce(reply.message_index, newest.message_index), newest.message_index
"""


def before(conversation_id: UUID, *, burst: Collection[str], limit: int) -> list[Said]:
    """Newest `limit` messages that were answered or need no answer; `burst`: ids of what is to be answered now."""
    return [Said(role, content) for role, content in ask(BEFORE, (conversation_id, list(burst), limit))]
