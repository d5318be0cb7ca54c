"""Conversations as a file: JSON lines that an import reads back, or CSV for a spreadsheet, row by row however many.

Every line is written from one snapshot, and messages come by their index, so nothing is told twice or left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F, QuerySet

from agents import audit
from config import spreadsheets
from conversations.legacy.cleaning import encode
from conversations.models import Conversation, Message, MessageBuffer

FORMATS = {"jsonl": "application/x-ndjson", "csv": "text/csv"}
OF_MESSAGE = (
    "conversation_id", "message_index", "role", "content", "author", "external_id", "metadata", "created_at",
    "deleted_at",
)  # fmt: skip
OF_CONVERSATION = ("user_id", "chat_id", "channel", "title")
AT_ONCE = 1_000


def lines(chosen: QuerySet[Conversation], file_format: str, *, by: str) -> Iterator[str]:
    """The conversations with everything that was said in them; on record before the first line leaves."""
    found = chosen.order_by("id").select_related(None)
    audit.record("conversation.export", by, details={"format": file_format, "conversations": found.count()})
    with transaction.atomic():
        if not connection.savepoint_ids:  # nobody's transaction but ours
            _one_snapshot()
        yield from _csv_lines(found) if file_format == "csv" else _json_lines(found)


def _one_snapshot() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        cursor.execute("SET LOCAL statement_timeout = 0")
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = '10min'")  # a slow reader is no dead one


def _json_lines(chosen: QuerySet[Conversation]) -> Iterator[str]:
    for conversation in chosen.iterator(chunk_size=AT_ONCE):
        yield encode(_conversation(conversation)) + "\n"
        waiting = _waiting(conversation.pk)
        for message in _messages(conversation.pk):
            told = {"type": "message", **message, **waiting.get(str(message["id"]), {})}
            told["created_at"], told["deleted_at"] = _iso(message["created_at"]), _iso(message["deleted_at"])
            yield encode({name: value for name, value in told.items() if name != "id"}) + "\n"


def _csv_lines(chosen: QuerySet[Conversation]) -> Iterator[str]:
    yield spreadsheets.line((*OF_CONVERSATION, *OF_MESSAGE))
    for conversation in chosen.iterator(chunk_size=AT_ONCE):
        head = [getattr(conversation, name) for name in OF_CONVERSATION]
        for message in _messages(conversation.pk):
            yield spreadsheets.line((*head, *(message[name] for name in OF_MESSAGE)))


def _conversation(conversation: Conversation) -> dict[str, Any]:
    names = ("id", *OF_CONVERSATION, "mode", "interview_step", "metadata", "message_count")
    told = {name: getattr(conversation, name) for name in names}
    return {"type": "conversation", **told, "created_at": _iso(conversation.created_at)}


def _messages(conversation_id: UUID) -> Iterator[dict[str, Any]]:
    rows = Message.objects.filter(conversation=conversation_id).order_by("message_index")
    yield from rows.values("id", *OF_MESSAGE).iterator(chunk_size=AT_ONCE)


def _waiting(conversation_id: UUID) -> dict[str, dict[str, Any]]:
    """What is in an open burst: whoever reads the file owes the answer."""
    bursts = MessageBuffer.objects.filter(conversation=conversation_id).annotate(step=F("interview_step"))
    return {
        message["message_id"]: {
            "waiting": True, "step": burst.interview_step, "question_context": message.get("question_context"),
        }
        for burst in bursts for message in burst.messages
    }  # fmt: skip


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
