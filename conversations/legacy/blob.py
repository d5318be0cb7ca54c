"""Messages as JSON objects, whatever they call their fields: what blobs in columns and files have in common."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from conversations.legacy.json_stream import loads
from conversations.legacy.records import Broken, Chat, Record
from conversations.models import RejectReason

NAMES: dict[str, tuple[str, ...]] = {
    "role": ("role", "sender", "from", "type"),
    "content": ("content", "text", "message", "body"),
    "created": ("timestamp", "created_at", "createdAt", "create_time", "date", "time", "at", "ts"),
    "deleted": ("deleted_at", "deletedAt", "deleted"),
    "id": ("id", "message_id", "messageId", "uuid"),
    "author": ("author", "name"),
}
LISTS = ("messages", "conversation", "conversations", "dialog", "dialogue", "history", "turns")
MISSING = object()


def record_of(value: Any, chat: Chat, position: int) -> Record | Broken:
    """The message an object is; what has no field of its own stays in its metadata."""
    if not isinstance(value, dict):
        what = "a list in a list" if isinstance(value, list) else f"{type(value).__name__} in place of an object"
        return Broken(RejectReason.NOT_A_MESSAGE, f"message {position}", what, value, chat)
    rest = dict(value)
    if isinstance(rest.get("data"), dict) and "content" in rest["data"] and "content" not in rest:
        rest |= rest.pop("data")  # as LangChain stores them: {"type": "human", "data": {"content": ...}}
    found = {field: _take(rest, names) for field, names in NAMES.items()}
    metadata = rest.pop("metadata", None)
    if isinstance(metadata, dict):
        rest |= metadata
    elif metadata is not None:
        rest["metadata"] = metadata
    return Record(chat, position, metadata=rest or None, **found)


def _take(rest: dict[str, Any], names: tuple[str, ...]) -> Any:
    for name in names:
        value = rest.pop(name, MISSING)
        if value is not MISSING:
            return value
    return None


def messages_in(value: Any) -> list[Any] | None:
    """The list of messages a blob is, encoded twice or wrapped in an object as it may be; None where it is none."""
    if value is None:
        return []
    for _ in range(2):  # a text in JSON that holds JSON
        if not isinstance(value, str):
            break
        try:
            value = loads(value)
        except ValueError:
            return None
    if isinstance(value, dict):
        value = next((value[name] for name in LISTS if isinstance(value.get(name), list)), None)
    return value if isinstance(value, list) else None


def records_in(value: Any, chat: Chat, *, start: int = 0) -> Iterator[Record | Broken]:
    """Every message of a blob, in its order."""
    messages = messages_in(value)
    if messages is None:
        yield Broken(RejectReason.NOT_A_LIST, "the whole list", type(value).__name__, value, chat)
        return
    for position, message in enumerate(messages):
        if position >= start:
            yield record_of(message, chat, position)
