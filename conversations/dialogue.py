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
SELECT newest.role, newest.content, tool_calls.tool, tool_calls.status, tool_calls.result
FROM (
    SELECT messages.message_index, messages.role, messages.content, messages.metadata ->> 'tool_call' AS tool_call,
        fate.turn_id
    FROM messages LEFT JOIN message_fates AS fate ON fate.message_id = messages.id
    WHERE messages.conversation_id = %s AND messages.deleted_at IS NULL AND messages.id <> ALL (%s::uuid[])
        AND NOT (messages.inbound AND fate.message_id IS NULL) AND fate.rule IS DISTINCT FROM 'set_aside'
    ORDER BY messages.message_index DESC LIMIT %s
) AS newest
LEFT JOIN turns ON turns.id = newest.turn_id
LEFT JOIN messages AS reply ON reply.id = turns.reply_id
LEFT JOIN tool_calls ON tool_calls.id::text = newest.tool_call AND newest.role = 'assistant'
ORDER BY coalesce(reply.message_index, newest.message_index), newest.message_index
"""


def before(conversation_id: UUID, *, burst: Collection[str], limit: int) -> list[Said]:
    """Newest `limit` messages that were answered or need no answer; `burst`: ids of what is to be answered now."""
    shown: list[Said] = []
    for role, content, tool, status, result in ask(BEFORE, (conversation_id, list(burst), limit)):
        shown.append(Said(role, content))
        if tool is not None:  # the person was told of the decision, the agent is shown the result as well
            shown.append(Said("tool", f"{tool} ({status}): {result}"))
    return shown
