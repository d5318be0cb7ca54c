"""The quick way into an open burst, which most messages take: one statement instead of a transaction of four."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from config.statements import ask
from conversations.listening import window_of
from conversations.log import REFUSALS, Entry, encode, in_our_words

JOIN = (
    "SELECT id, message_index, character_count, metadata::text, created_at, interview_step, flush_id, flush_at, size,"
    " wait_ms FROM join_burst(%s, %s, %s, %s, %s, %s, %s, %s, %s)"
)


@dataclass(frozen=True, slots=True)
class Joined:
    """The stored message, and the burst it joined."""

    entry: Entry
    interview_step: int
    flush_id: str
    flush_at: datetime
    size: int
    wait_ms: int


def join(  # noqa: PLR0913  one per argument of the statement
    conversation_id: UUID,
    content: str,
    *,
    external_id: str | None,
    metadata: Mapping[str, Any] | None,
    question_context: str | None,
    interview_step: int | None,
) -> Joined | None:
    """Store the message as the next of an open burst that has room. None, and nothing stored, in every other case."""
    window = window_of(conversation_id)
    values = (
        conversation_id, content, encode(metadata) if metadata else "{}", external_id, question_context, interview_step,
        window.quiet_after(content, metadata or {}), window.max_size, window.max_bytes,
    )  # fmt: skip
    try:
        with transaction.atomic() if connection.in_atomic_block else nullcontext():
            rows = ask(JOIN, values)
    except REFUSALS as error:
        raise in_our_words(error, conversation_id) from error
    if not rows:
        return None
    id_, index, characters, stored, created, step, flush_id, flush_at, size, wait_ms = rows[0]
    entry = Entry(
        id_, conversation_id, index, "user", content, characters, json.loads(stored), external_id, True, "", None, None,
        created, None,
    )  # fmt: skip
    return Joined(entry, step, flush_id, flush_at, size, wait_ms)
