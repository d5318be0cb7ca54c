"""Messages as JSON objects, whatever they call their fields: what blobs in columns and files have in common."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from conversations.legacy.json_stream import loads
from conversations.legacy.records import Broken, Chat, Record
from conversations.models import RejectReason

Fields = Mapping[str, tuple[str, ...]]


class Names:
    """What the fields of a message may be called; one object for all messages of a source."""

    def __init__(self, fields: Fields) -> None:
        self.fields = fields


FIELDS: Fields = {
    "role": ("role", "sender", "speaker", "from", "type"),
    "content": ("content", "text", "message", "body", "utterance", "value"),
    "created": ("timestamp", "created_at", "createdAt", "create_time", "date", "time", "at", "ts"),
    "deleted": ("deleted_at", "deletedAt", "deleted"),
    "id": ("id", "message_id", "messageId", "uuid"),
    "author": ("author", "name"),
}
REPLIES = "children"  # as LibreChat writes them
LISTS = (
    "messages",
    "conversation",
    "conversations",
    "dialog",
    "dialogue",
    "history",
    "turns",
    "utterances",
    "chat.messages",
)
NAMES = Names(FIELDS)
MISSING = object()
FEW = 50  # keys of an object that is remembered as what many look like


def record_of(value: Any, chat: Chat, position: int, names: Names = NAMES) -> Record | Broken:
    """The message an object is; what has no field of its own stays in its metadata."""
    if not isinstance(value, dict):
        what = "a list in a list" if isinstance(value, list) else f"{type(value).__name__} in place of an object"
        return Broken(RejectReason.NOT_A_MESSAGE, f"message {position}", what, value, chat)
    rest = dict(value)
    if isinstance(rest.get("data"), dict) and "content" in rest["data"] and "content" not in rest:
        rest |= rest.pop("data")  # as LangChain stores them: {"type": "human", "data": {"content": ...}}
    called = _called(names, tuple(rest)) if len(rest) <= FEW else None
    if called is None:
        found = {field: take(rest, known) for field, known in names.fields.items()}
    else:
        found = {field: rest.pop(name) for field, name in called.items()}
    metadata = rest.pop("metadata", None)
    if isinstance(metadata, dict):
        rest |= metadata
    elif metadata is not None:
        rest["metadata"] = metadata
    return Record(chat, position, metadata=rest or None, **found)


@lru_cache(maxsize=1_000)
def _called(names: Names, keys: tuple[str, ...]) -> Mapping[str, str] | None:
    """What is called how in every object with these keys; None where a name may lead into an object inside."""
    called: dict[str, str] = {}
    for field, known in names.fields.items():
        if any(name.partition(".")[0] in keys for name in known if "." in name):
            return None
        name = next((name for name in known if name in keys and name not in called.values()), None)
        if name is not None:
            called[field] = name
    return called


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
    value = _decoded(value)
    if value is None:
        return []
    if isinstance(value, dict):
        value = next((value[name] for name in LISTS if isinstance(value.get(name), list)), None)
    return value if isinstance(value, list) else None


def records_in(value: Any, chat: Chat, names: Names = NAMES) -> Iterator[Record | Broken]:
    """Every message of a blob, in its order."""
    messages = messages_in(value)
    if messages is None:
        yield Broken(RejectReason.NOT_A_LIST, "the whole list", _kind(_decoded(value)), value, chat)
        return
    for position, (message, shown) in enumerate(unfolded(messages)):
        yield record_of(message, chat, position, names) if shown else replaced(message, chat, position)


def unfolded(messages: Iterable[Any]) -> Iterator[tuple[Any, bool]]:
    """Messages with the replies that stand in them, each with whether it was shown: of several the latest is."""
    for message in messages:
        waiting = [(message, True)]
        while waiting:
            one, shown = waiting.pop()
            replies = one.get(REPLIES) if isinstance(one, dict) else None
            if not isinstance(replies, list) or not all(isinstance(reply, dict) for reply in replies):
                yield one, shown
                continue
            yield {name: value for name, value in one.items() if name != REPLIES}, shown
            latest = len(replies) - 1
            waiting += [(reply, shown and number == latest) for number, reply in reversed(list(enumerate(replies)))]


def replaced(message: Any, chat: Chat, position: int) -> Broken:
    """An answer that another one took the place of."""
    return Broken(RejectReason.BRANCH, f"message {position}", "an answer that was replaced", message, chat)


def _decoded(value: Any) -> Any:
    """What a text holds that is JSON, once or twice; what is no JSON stays the text it is."""
    for _ in range(2):
        if not isinstance(value, str):
            break
        try:
            value = loads(value)
        except ValueError:
            break
    return value


def _kind(value: Any) -> str:
    """As JSON calls it."""
    names = {dict: "an object", str: "a text", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(value), type(value).__name__)
