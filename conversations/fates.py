"""What became of each message that a person sent, and the proof that none was forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from config.statements import ask
from conversations.models import Fate

Messages = Sequence[dict[str, Any]]  # as in message_buffers.messages and turns.input

SET_ASIDE = "set_aside"  # the rule of messages that no model accepts: later prompts leave them out

# A message that failed may still be answered, by hand or by a retry; every other fate is final.
RECORD = """
INSERT INTO message_fates AS known (message_id, fate, turn_id, rule)
SELECT id, %s, %s::uuid, %s FROM unnest(%s::uuid[]) AS id
ON CONFLICT (message_id) DO UPDATE
SET fate = EXCLUDED.fate, turn_id = EXCLUDED.turn_id, rule = EXCLUDED.rule, updated_at = clock_timestamp()
WHERE known.fate = 'failed' RETURNING message_id
"""


def record(messages: Messages, fate: Fate, *, turn_id: UUID | None = None, rule: str = "") -> None:
    """Write the fate of these messages, and of the corrections that were made to them in the burst."""
    ids = [id_ for message in messages for id_ in (message["message_id"], *message.get("edits", ()))]
    if not ids:
        return
    ask(RECORD, (str(fate), turn_id, rule[:50], ids))


def record_one(message_id: UUID, fate: Fate, *, rule: str = "") -> None:
    record([{"message_id": str(message_id)}], fate, rule=rule)
