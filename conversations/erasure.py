"""The only way what was said leaves: whole conversations, on somebody's word, with a record that repeats none of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog
from django.db import connection, transaction

from agents import audit, forgetting
from agents.forgetting import forget_turns
from conversations import buffering, drafts
from conversations.models import Conversation

logger = structlog.get_logger(__name__)

# Others who keep something of a conversation forget it here, in the same transaction; each says how many rows went.
FORGET: dict[str, Callable[[UUID, Sequence[UUID]], int]] = {
    "calls_and_checkpoints": lambda _conversation_id, turn_ids: forget_turns(turn_ids),
    "drafts": lambda conversation_id, _turn_ids: drafts.forget(conversation_id),
}

SUMMARY = """
SELECT c.user_id, (SELECT count(*) FROM turns WHERE conversation_id = c.id),
    (SELECT count(*) FROM message_buffers WHERE conversation_id = c.id), count(m.id),
    encode(sha256(convert_to(coalesce(
        jsonb_agg(jsonb_build_array(m.message_index, m.role, m.content) ORDER BY m.message_index)
        FILTER (WHERE m.id IS NOT NULL), '[]')::text, 'UTF8')), 'hex')
FROM conversations c LEFT JOIN messages m ON m.conversation_id = c.id
WHERE c.id = %s GROUP BY c.id
"""


class NoReasonError(Exception):
    """Erasing needs a reason: the record is all that is left."""

    permanent = True


@dataclass(frozen=True, slots=True)
class Erased:
    """What went; `content_hash` proves later what a copy held, and tells nobody what it was."""

    conversation_id: UUID
    messages: int
    turns: int
    content_hash: str


def erase(conversation_id: UUID, *, by: str, reason: str) -> Erased:
    """Remove a conversation with everything that was said in it; the record keeps who, why, how much and a hash."""
    if not reason.strip():
        raise NoReasonError(NoReasonError.__doc__)
    with transaction.atomic(), connection.cursor() as cursor:
        buffering.lock(conversation_id)
        cursor.execute("SET LOCAL statement_timeout = 0")  # a long conversation takes longer than a request may
        cursor.execute(SUMMARY, [conversation_id])
        user_id, turns, buffers, messages, content_hash = cursor.fetchone()
        cursor.execute("SELECT id FROM turns WHERE conversation_id = %s", [conversation_id])
        turn_ids = [id_ for (id_,) in cursor.fetchall()]
        also = {name: forget(conversation_id, turn_ids) for name, forget in (FORGET | forgetting.HERE).items()}
        cursor.execute("SET LOCAL parley.erasing = 'on'")  # the triggers of the log ask for it
        cursor.execute("DELETE FROM conversations WHERE id = %s", [conversation_id])  # the rest cascades
        cursor.execute("SET LOCAL parley.erasing = ''")
        told = {"user_id": user_id, "messages": messages, "turns": turns, "buffers": buffers, **also}
        told |= {"content_hash": content_hash, "reason": reason}
        audit.record("conversation.erase", by, ("conversation", conversation_id), told)
    logger.info("conversation erased", conversation=str(conversation_id), by=by, messages=messages)
    return Erased(conversation_id, messages, turns, content_hash)


def forget_person(user_id: int, *, by: str, reason: str) -> dict[str, int]:
    """What other rooms keep of a person beside any conversation; where that is nothing, nothing is recorded."""
    if not reason.strip():
        raise NoReasonError(NoReasonError.__doc__)
    with transaction.atomic():
        gone = {name: forget(user_id) for name, forget in forgetting.OF_PERSON.items()}
        if any(gone.values()):
            audit.record("person.erase", by, ("user", user_id), {**gone, "reason": reason})
    return gone


def of_user(user_id: int) -> list[UUID]:
    """Every conversation of a person, on whatever channel."""
    return list(Conversation.objects.filter(user_id=user_id).order_by("id").values_list("id", flat=True))
