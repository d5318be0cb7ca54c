"""Messages as JSON objects, whatever they call their fields: what blobs in columns and files have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from conversations.legacy.json_stream import loads
from conversations.legacy.records import Broken, Chat, Record
from conversations.models import RejectReason

Names = Mapping[str, tuple[str, ...]]
NAMES: Names = {
    "role": ("role", "sender", "speaker", "from", "type"),
    "content": ("content", "text", "message", "body", "utterance"),
    "created": ("timestamp", "created_at", "createdAt", "create_time", "date", "time", "at", "ts"),
    "deleted": ("deleted_at", "deletedAt", "deleted"),
    "id": ("id", "message_id", "messageId", "uuid"),
    "author": ("author", "name"),
}
LISTS = ("messages", "conversation", "conversations", "dialog", "dialogue", "history", "turns", "utterances")
MISSING = object()


def record_of(value: Any, chat: Chat, position: int, names: Names = NAMES) -> Record | Broken:
    """The message an object is; what has no field of its own stays in its metadata."""
    if not isinstance(value, dict):
        what = "a list in a list" if isinstance(value, list) else f"{type(value).__name__} in place of an object"
        return Broken(RejectReason.NOT_A_MESSAGE, f"message {position}", what, value, chat)
    rest = dict(value)
    if isinstance(rest.get("data"), dict) and "content" in rest["data"] and "content" not in rest:
        rest |= rest.pop("data")  # as LangChain stores them: {"type": "human", "data": {"content": ...}}
    found = {field: take(rest, known) for field, known in names.items()}
    metadata = rest.pop("metadata", None)
    if isinstance(metadata, dict):
        rest |= metadata
    elif metadata is not None:
        rest["metadata"] = metadata
    return Record(chat, position, metadata=rest or None, **found)


def look(value: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    """What stands under the first of the names that is there; `a.b` is b in the object a. Nothing is null."""
    return next((found for name in names if (found := _at(value, name)) is not MISSING), None)


def has(value: Mapping[str, Any], names: tuple[str, ...]) -> bool:
    return any(_at(value, name) is not MISSING for name in names)


def take(rest: dict[str, Any], names: tuple[str, ...]) -> Any:
    """The same, taken out; what stands around it stays."""
    for name in names:
        value = rest.pop(name, MISSING)
        if value is MISSING and "." in name:
            value = _take_inside(rest, name)
        if value is not MISSING:
            return value
    return None


def _at(value: Any, name: str) -> Any:
    if not isinstance(value, Mapping):
        return MISSING
    if name in value:
        return value[name]
    head, dot, rest = name.partition(".")
    return _at(value.get(head), rest) if dot else MISSING


def _take_inside(rest: dict[str, Any], name: str) -> Any:
    """Out of a copy of the object inside: what was read is kept as it was for a reject."""
    head, _, tail = name.partition(".")
    if not isinstance(rest.get(head), dict):
        return MISSING
    inner = dict(rest[head])
    value = inner.pop(tail, MISSING)
    if value is MISSING and "." in tail:
        value = _take_inside(inner, tail)
    if value is not MISSING:
        rest[head] = inner
    return value


def messages_in(value: Any) -> list[Any] | None:
    """The list of messages a blob is, encoded twice or wrapped in an object as it may be; None where it is none."""
    for _ in range(2):  # a text in JSON that holds JSON
        if not isinstance(value, str):
            break
        try:
            value = loads(value)
        except ValueError:
            return None
    if value is None:
        return []
    if isinstance(value, dict):
        value = next((value[name] for name in LISTS if isinstance(value.get(name), list)), None)
    return value if isinstance(value, list) else None


def records_in(value: Any, chat: Chat, names: Names = NAMES) -> Iterator[Record | Broken]:
    """Every message of a blob, in its order."""
    messages = messages_in(value)
    if messages is None:
        yield Broken(RejectReason.NOT_A_LIST, "the whole list", type(value).__name__, value, chat)
        return
    for position, message in enumerate(messages):
        yield record_of(message, chat, position, names)
