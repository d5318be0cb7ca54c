"""Where `recall` looks: the person's own messages, by PostgreSQL's full text."""

from __future__ import annotations

from django.db import connection

from agents.tools import Call
from agents.tools.recall import Hit, register_source

# Runs as the end user, so row-level security leaves that user's rows and no others; any of the words may match, the
# most and the rarest first. The newest messages alone, so that a long life does not make a long query.
FIND = """
WITH own AS (
    SELECT messages.id, content, messages.created_at, conversation_id, message_index
    FROM messages JOIN conversations ON conversations.id = conversation_id
    WHERE user_id = %(user)s AND role = 'user' AND deleted_at IS NULL
        AND NOT (conversation_id = %(here)s::uuid AND strpos(%(query)s, content) > 0)  -- the question is no answer
    ORDER BY messages.id DESC LIMIT 5000
), asked AS (
    SELECT replace(plainto_tsquery('english', %(query)s)::text, '&', '|')::tsquery
        || replace(plainto_tsquery('russian', %(query)s)::text, '&', '|')::tsquery AS query
)
SELECT id, content, created_at FROM own, asked,
    LATERAL (SELECT to_tsvector('english', content) || to_tsvector('russian', content) AS words) AS text
WHERE words @@ query ORDER BY ts_rank(words, query) DESC, id DESC LIMIT %(limit)s
"""


def own_messages(call: Call, query: str, limit: int) -> list[Hit]:
    """What this person wrote that shares a word with the query, in whatever conversation."""
    values: dict[str, str | int] = {
        "user": call.user_id,
        "here": str(call.conversation_id),
        "query": query,
        "limit": limit,
    }
    with connection.cursor() as cursor:
        cursor.execute(FIND, values)
        return [Hit(content, at.isoformat(), str(id_)) for id_, content, at in cursor.fetchall()]


register_source("messages", own_messages)
