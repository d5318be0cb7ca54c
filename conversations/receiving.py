"""The quick way, which nearly every message takes: one statement stores it and lets it wait for the rest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from config.queue import signed
from config.statements import ask, undone_alone
from conversations.listening import forget, step_of, window_of
from conversations.log import REFUSALS, Entry, encode, in_our_words

RECEIVE = (
    "SELECT id, message_index, character_count, metadata::text, created_at, interview_step, flush_id, flush_at, size,"
    " wait_ms, opened FROM receive_message(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
)
FLUSH = "bursts.flush"  # the task that looks at a buffer


@dataclass(frozen=True, slots=True)
class Waiting:
    """The stored message, and the burst it waits in."""

    entry: Entry
    interview_step: int
    flush_id: str
    flush_at: datetime
    size: int
    wait_ms: int
    opened: bool


def timer(conversation_id: UUID, interview_step: int) -> list[str | None]:
    """The task that looks at the burst when its time has come, signed."""
    return signed(FLUSH, str(conversation_id), interview_step, key=[str(conversation_id), interview_step])


def store_waiting(  # noqa: PLR0913  one per argument of the statement
    conversation_id: UUID,
    content: str,
    *,
    external_id: str | None,
    metadata: Mapping[str, Any] | None,
    question_context: str | None,
    interview_step: int | None,
) -> Waiting | None:
    """Store the message in the open burst, or as the first of a new one with its timer.

    None, and nothing stored, in every case that is not so plain: the caller takes the long way.
    """
    window = window_of(conversation_id)
    expected = step_of(conversation_id) if interview_step is None else interview_step
    values = (
        conversation_id, content, encode(metadata) if metadata else "{}", external_id, question_context, interview_step,
        window.quiet_after(content, metadata or {}), window.max_wait, window.max_size, window.max_bytes, expected,
        timer(conversation_id, expected),
    )  # fmt: skip
    try:
        with undone_alone():
            rows = ask(RECEIVE, values)
    except REFUSALS as error:
        raise in_our_words(error, conversation_id) from error
    if not rows:
        forget(conversation_id)
        return None
    id_, index, characters, stored, created, step, flush_id, flush_at, size, wait_ms, opened = rows[0]
    entry = Entry(
        id_, conversation_id, index, "user", content, characters, json.loads(stored), external_id, True, "", None, None,
        created, None,
    )  # fmt: skip
    return Waiting(entry, step, flush_id, flush_at, size, wait_ms, opened)
