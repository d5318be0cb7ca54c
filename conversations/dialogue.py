"""Dialogue before a turn, in the order in which it was led: a burst, its reply, the next burst.

Indexes say when a message arrived, not what it was an answer to: while a turn runs, the person may write the next burst
before the reply to the first is stored. So an answered message stands before its reply, whatever lies between them.
"""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from agents.request import Said
from config.statements import ask
from conversations.fates import SET_ASIDE

WAITING_AT_MOST = 200  # messages that may stand behind the burst and wait for turns of their own

# The function reads a page by its index whatever the statistics say; a join here would be planned over all messages.
# Left out are the burst itself, what still waits for its own turn, and what no model accepts.
BEFORE = f"""
SELECT newest.role, newest.content, tool_calls.tool, tool_calls.status, tool_calls.result
FROM get_session_messages(%s, %s::integer) AS newest
LEFT JOIN message_fates AS fate ON fate.message_id = newest.id
LEFT JOIN turns ON turns.id = fate.turn_id
LEFT JOIN messages AS reply ON reply.id = turns.reply_id
LEFT JOIN tool_calls ON newest.role = 'assistant' AND tool_calls.conversation_id = newest.conversation_id
    AND tool_calls.id = CASE
    WHEN newest.metadata ->> 'tool_call' ~ '^[0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}$'
    THEN (newest.metadata ->> 'tool_call')::uuid END
WHERE newest.id <> ALL (%s::uuid[]) AND NOT (newest.inbound AND fate.message_id IS NULL)
    AND fate.rule IS DISTINCT FROM '{SET_ASIDE}'
ORDER BY coalesce(reply.message_index, newest.message_index), newest.message_index
"""


def before(conversation_id: UUID, *, burst: Collection[str], limit: int) -> list[Said]:
    """Newest `limit` messages that were answered or need no answer; `burst`: ids of what is to be answered now."""
    rows = ask(BEFORE, (conversation_id, limit + len(burst) + WAITING_AT_MOST, list(burst)))
    shown: list[Said] = []
    for role, content, tool, status, result in rows[-limit:]:
        shown.append(Said(role, content))
        if tool is not None:  # the person was told of the decision, the agent is shown the result as well
            shown.append(Said("tool", f"{tool} ({status}): {result}"))
    return shown
