"""The outbox: what was said and has to reach the person, as rows written in the transaction that says it."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from config.queue import defer
from config.statements import ask
from conversations.channels import CHANNELS, PULLED
from conversations.log import Entry

SEND = "deliveries.send"  # the task that looks at a conversation's outbox

ENQUEUE = """
INSERT INTO deliveries (message_id, channel, status)
SELECT %s, channel, CASE WHEN channel = ANY(%s) THEN 'sent' ELSE 'pending' END
FROM conversations WHERE id = %s
RETURNING status = 'pending', channel
"""


def enqueue(entry: Entry) -> None:
    """Write the delivery of a message, and the wake-up of who sends it, in the caller's transaction."""
    [(pending, channel)] = ask(ENQUEUE, (entry.id, list(PULLED), entry.conversation_id))
    if pending:
        wake(entry.conversation_id, channel)


def wake(conversation_id: UUID, channel: str, at: datetime | None = None) -> None:
    """Let a worker look at what the conversation has to send; a channel whose bot sends for itself looks by itself."""
    if channel not in CHANNELS or not CHANNELS[channel].by_runner:
        defer(SEND, str(conversation_id), at=at, key=[str(conversation_id)])
