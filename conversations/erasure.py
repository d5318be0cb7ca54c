"""The only way what was said leaves: whole conversations, on somebody's word, with a record that repeats none of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog
from django.db import connection, transaction

from agents import audit, forgetting
from agents.forgetting import Forget, Gone
from conversations import drafts
from conversations.log import ConversationNotFoundError
from conversations.models import Conversation

logger = structlog.get_logger(__name__)

# Others who keep something of a conversation forget it here, in the same transaction.
FORGET: dict[str, Forget] = {
    "calls_and_checkpoints": forgetting.forget_turns,
    "drafts": lambda ids, _turns: drafts.forget(ids),
    "updates": lambda ids, _turns: forget_updates(ids),
}

LOCK = "SELECT id FROM conversations WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE"
LOCK_MESSAGES = "SELECT FROM messages WHERE conversation_id = ANY(%s) ORDER BY id FOR UPDATE"
SUMMARY = """
SELECT c.id, c.user_id, (SELECT count(*) FROM turns WHERE conversation_id = c.id),
    (SELECT count(*) FROM message_buffers WHERE conversation_id = c.id), count(m.id),
    encode(sha256(convert_to(coalesce(
        jsonb_agg(jsonb_build_array(m.message_index, m.role, m.content) ORDER BY m.message_index)
        FILTER (WHERE m.id IS NOT NULL), '[]')::text, 'UTF8')), 'hex')
FROM conversations c LEFT JOIN messages m ON m.conversation_id = c.id
WHERE c.id = ANY(%s) GROUP BY c.id
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
    [erased] = erase_all([conversation_id], by=by, reason=reason)
    logger.info("conversation erased", conversation=str(conversation_id), by=by, messages=erased.messages)
    return erased


def erase_all(ids: Sequence[UUID], *, by: str, reason: str) -> list[Erased]:
    """The same for many, all or none; each has its own entry in the record, and none in the process's log."""
    if not reason.strip():
        raise NoReasonError(NoReasonError.__doc__)
    with transaction.atomic(), connection.cursor() as cursor:
        _lock_all(ids)
        cursor.execute("SET LOCAL statement_timeout = 0")  # a long conversation takes longer than a request may
        cursor.execute(SUMMARY, [list(ids)])
        summaries = cursor.fetchall()
        cursor.execute("SELECT id, conversation_id FROM turns WHERE conversation_id = ANY(%s)", [list(ids)])
        turns = dict(cursor.fetchall())
        also = {name: forget(ids, turns) for name, forget in (FORGET | forgetting.HERE).items()}
        cursor.execute("SET LOCAL parley.erasing = 'on'")  # the triggers of the log ask for it
        cursor.execute("DELETE FROM conversations WHERE id = ANY(%s)", [list(ids)])  # the rest cascades
        cursor.execute("SET LOCAL parley.erasing = ''")
        audit.record_all(
            "conversation.erase", by,
            (
                (
                    ("conversation", id_),
                    {"user_id": user_id, "messages": messages, "turns": turn_count, "buffers": buffers,
                     **{name: gone.get(id_, 0) for name, gone in also.items()},
                     "content_hash": content_hash, "reason": reason},
                )
                for id_, user_id, turn_count, buffers, messages, content_hash in summaries
            ),
        )  # fmt: skip
    return [Erased(id_, messages, number, content) for id_, _user, number, _buffers, messages, content in summaries]


def _lock_all(ids: Sequence[UUID]) -> None:
    """In one order: two who erase must not wait for each other, nor for the indexer, which holds messages by id."""
    with connection.cursor() as cursor:
        cursor.execute(LOCK, [list(ids)])
        missing = set(ids) - {id_ for (id_,) in cursor.fetchall()}
        cursor.execute(LOCK_MESSAGES, [list(ids)])
    if missing:
        raise ConversationNotFoundError(f"There is no conversation {min(missing)}.")


# That they came stays, or they could be taken again; who and what they were about goes.
UPDATES = """
UPDATE channel_updates AS told SET chat_id = NULL, message_id = NULL, payload = NULL
FROM conversations AS erased WHERE erased.id = ANY(%s) AND told.chat_id = erased.chat_id AND (
    erased.chat_id = erased.user_id
    OR told.payload -> told.kind -> 'from' ->> 'id' = erased.user_id::text
    OR EXISTS (SELECT FROM messages WHERE messages.conversation_id = erased.id
        AND messages.external_id = jsonb_build_array(told.chat_id, told.message_id)::text))
RETURNING erased.id
"""


def forget_updates(ids: Sequence[UUID]) -> Gone:
    """What a channel told us of them: in a chat of two everything, in a group what the person wrote."""
    with connection.cursor() as cursor:
        cursor.execute(UPDATES, [list(ids)])
        return Counter(id_ for (id_,) in cursor.fetchall())


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
