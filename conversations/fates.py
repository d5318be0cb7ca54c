"""What became of each message that a person sent, and the proof that none was forgotten."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import connection

from conversations.models import Fate

Messages = Sequence[dict[str, Any]]  # as in message_buffers.messages and turns.input

# A message that failed may still be answered, by hand or by a retry; every other fate is final.
RECORD = """
INSERT INTO message_fates AS known (message_id, fate, turn_id, rule)
SELECT id::uuid, %(fate)s, %(turn)s, %(rule)s FROM jsonb_array_elements_text(%(ids)s::jsonb) AS id
ON CONFLICT (message_id) DO UPDATE
SET fate = EXCLUDED.fate, turn_id = EXCLUDED.turn_id, rule = EXCLUDED.rule, updated_at = clock_timestamp()
WHERE known.fate = 'failed'
"""


def record(messages: Messages, fate: Fate, *, turn_id: UUID | None = None, rule: str = "") -> None:
    """Write the fate of these messages, and of the corrections that were made to them in the burst."""
    ids = [id_ for message in messages for id_ in (message["message_id"], *message.get("edits", ()))]
    if not ids:
        return
    with connection.cursor() as cursor:
        cursor.execute(RECORD, {"ids": json.dumps(ids), "fate": fate, "turn": turn_id, "rule": rule[:50]})


def record_one(message_id: UUID, fate: Fate, *, rule: str = "") -> None:
    record([{"message_id": str(message_id)}], fate, rule=rule)
