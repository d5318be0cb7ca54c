"""Taking away what still waits for an answer: open bursts and unfinished turns, with the fate of their messages."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from django.db import connection

from conversations import fates
from conversations.models import Fate

DISCARD = """
WITH taken AS (
    DELETE FROM message_buffers WHERE conversation_id = %(conversation)s
        AND (%(step)s::int IS NULL OR interview_step = %(step)s)
    RETURNING messages, carries
)
SELECT coalesce(turns.input, '[]') || taken.messages FROM taken LEFT JOIN turns ON turns.id = taken.carries
"""
# Whoever runs one of them has lost it from here on: the generation moves.
WITHDRAW = """
UPDATE turns SET status = 'withdrawn', lease_until = NULL, generation = generation + 1,
    finished_at = clock_timestamp(), updated_at = clock_timestamp()
WHERE conversation_id = %s AND status IN ('waiting', 'running')
RETURNING id, input
"""


def discard(conversation_id: UUID, fate: Fate, *, interview_step: int | None = None, rule: str = "") -> int:
    """Take open bursts away, with the stale turn they carried. The caller holds the lock. How many messages."""
    values: dict[str, Any] = {"conversation": conversation_id, "step": interview_step}
    with connection.cursor() as cursor:
        cursor.execute(DISCARD, values)
        messages = [message for (found,) in cursor.fetchall() for message in json.loads(found)]
    fates.record(messages, fate, rule=rule)
    return len(messages)


def withdraw(conversation_id: UUID, fate: Fate, *, rule: str = "") -> int:
    """End unfinished turns without an answer. The caller holds the lock. How many turns."""
    with connection.cursor() as cursor:
        cursor.execute(WITHDRAW, [conversation_id])
        turns = cursor.fetchall()
    for turn_id, messages in turns:
        fates.record(json.loads(messages), fate, turn_id=turn_id, rule=rule)
    return len(turns)
