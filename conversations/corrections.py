"""Messages that their writer changed or took back: the burst uses the corrected text, the log keeps both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from agents import audit
from config.columns import clock
from conversations import buffering, burst, fates, log
from conversations.errors import BlankMessageError, NotInBurstError
from conversations.listening import window_of
from conversations.log import Entry
from conversations.models import Fate, Message, MessageBuffer, Trigger
from conversations.tally import counts_refusals

Messages = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Corrected:
    """The stored correction, and whether the agent will see it in place of the first text."""

    entry: Entry
    in_burst: bool


@counts_refusals
def correct(conversation_id: UUID, message_id: UUID, content: str, *, external_id: str | None = None) -> Corrected:
    """Append the new text; where the first still waits in a burst, it stands there instead, and the burst waits on."""
    if burst.is_blank(content):
        raise BlankMessageError
    with transaction.atomic():
        buffering.lock(conversation_id)
        _refuse_stranger(conversation_id, message_id)
        entry = log.append(
            conversation_id,
            "user",
            content,
            metadata={"edits": str(message_id)},
            external_id=external_id,
            inbound=True,
        )

        def replaced(messages: Messages) -> Messages:
            return [_with(message, entry) if _is(message, message_id) else message for message in messages]

        in_burst = not entry.repeated and _change_burst(conversation_id, message_id, replaced)
        if not in_burst and not entry.repeated:
            fates.record_one(entry.id, Fate.SKIPPED, rule="edited_late")
        return Corrected(entry, in_burst)


def retract(conversation_id: UUID, message_id: UUID, *, by: str) -> bool:
    """Mark the message deleted, and take it out of its burst. False where it was deleted before."""
    with transaction.atomic():
        buffering.lock(conversation_id)
        _refuse_stranger(conversation_id, message_id)
        if not Message.objects.visible().filter(pk=message_id).update(deleted_at=clock()):
            return False
        audit.record("message.retract", by, ("message", message_id), {"conversation": str(conversation_id)})
        found: Messages = []

        def without(messages: Messages) -> Messages:
            found.extend(message for message in messages if _is(message, message_id))
            return [message for message in messages if not _is(message, message_id)]

        if _change_burst(conversation_id, message_id, without):
            fates.record(found, Fate.CLEARED, rule=by)
        return True


def _change_burst(conversation_id: UUID, message_id: UUID, change: Callable[[Messages], Messages]) -> bool:
    """Apply the change to the burst that holds the message; False where none does. Who corrects is not done yet."""
    for buffer in MessageBuffer.objects.filter(conversation_id=conversation_id):
        if not any(_is(message, message_id) for message in buffer.messages):
            continue
        buffer.messages = change(buffer.messages)
        if not buffer.messages:
            _close_empty(buffer)
            return True
        buffer.size_bytes = sum(len(message["content"].encode()) for message in buffer.messages)
        buffer.save(update_fields=["messages", "size_bytes"])
        _wait_on(buffer)
        return True
    return False


def _close_empty(buffer: MessageBuffer) -> None:
    """Nothing is left of the burst itself; a stale turn it carried is still owed an answer."""
    if buffer.carries is None:
        buffer.delete()
    else:
        buffer.save(update_fields=["messages"])
        buffering.seal(buffer.conversation_id, buffer.interview_step, Trigger.DEBOUNCE)


def _wait_on(buffer: MessageBuffer) -> None:
    values: list[Any] = [window_of(buffer.conversation_id).debounce, buffer.pk]
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE message_buffers SET flush_at = least(greatest(flush_at, clock_timestamp() + %s), deadline),"
            " updated_at = clock_timestamp() WHERE id = %s",
            values,
        )


def _with(message: dict[str, Any], entry: Entry) -> dict[str, Any]:
    return {**message, "content": entry.content, "edits": [*message.get("edits", []), str(entry.id)]}


def _is(message: dict[str, Any], message_id: UUID) -> bool:
    """The message itself, or the one a correction of it became."""
    return str(message_id) in (message["message_id"], *message.get("edits", ()))


def _refuse_stranger(conversation_id: UUID, message_id: UUID) -> None:
    if not Message.objects.filter(pk=message_id, conversation_id=conversation_id, role="user").exists():
        raise NotInBurstError
