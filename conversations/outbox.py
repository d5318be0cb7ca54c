"""The outbox: what was said and has to reach the person, as rows written in the transaction that says it."""

from __future__ import annotations

from typing import Any

from django.db import connection

from conversations.log import Entry

# Channels whose clients read the log themselves (HTTP, web page): stored is delivered.
PULLED = ("api", "web", "console")

ENQUEUE = """
INSERT INTO deliveries (message_id, channel, status)
SELECT %(message)s, channel, CASE WHEN channel = ANY(%(pulled)s) THEN 'sent' ELSE 'pending' END
FROM conversations WHERE id = %(conversation)s
"""


def enqueue(entry: Entry) -> None:
    """Write the delivery of a message in the caller's transaction."""
    values: dict[str, Any] = {"message": entry.id, "conversation": entry.conversation_id, "pulled": list(PULLED)}
    with connection.cursor() as cursor:
        cursor.execute(ENQUEUE, values)
