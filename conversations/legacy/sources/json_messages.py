"""JSON and JSON lines: messages, conversations of messages, or lists of lists, as programs write them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from conversations.legacy.blob import (
    FIELDS,
    LISTS,
    Fields,
    Names,
    has,
    look,
    record_of,
    records_in,
    replaced,
    take,
    unfolded,
)
from conversations.legacy.errors import OptionError
from conversations.legacy.json_stream import JsonStream, loads
from conversations.legacy.records import Broken, Chat, Found, Place
from conversations.legacy.sources.files import JsonFile, key_of, opened
from conversations.legacy.sources.source import Options
from conversations.models import RejectReason

TAKEN_WHOLE = 32 * 1024 * 1024  # bytes of a file that is one object
FIRST_LINE = 16 * 1024 * 1024  # characters of it that are looked at
OF_CHAT = {
    "key": ("conversation_id", "session_id", "thread_id", "dialog_id", "dialogue_id", "id", "uuid"),
    "user": ("user_id", "userId", "user"),
    "chat": ("chat_id", "chatId"),
    "title": ("title", "name", "topic", "subject"),
    "created": ("created_at", "createdAt", "create_time", "timestamp", "date"),
}
MAPPED = {  # as --map calls them
    "conversation": "key", "user_id": "user", "chat_id": "chat", "title": "title", "role": "role",
    "content": "content", "created_at": "created", "deleted_at": "deleted", "id": "id", "author": "author",
    "messages": "messages",
}  # fmt: skip
OF_LINE = {**OF_CHAT, "key": OF_CHAT["key"][:5]}  # in a line that is a message, `id` is the message's


class JsonMessages(JsonFile):
    """One array, one object, or one value a line. A message that names no conversation belongs to the file's own."""

    kind = "json"

    def __init__(self, path: Path, options: Options) -> None:
        super().__init__(path, options)
        self.names, self.of_chat = Names(_mapped(FIELDS, options)), _mapped(OF_CHAT, options)
        self.of_line, self.lists = _mapped(OF_LINE, options), _mapped({"messages": LISTS}, options)["messages"]
        self._needed = (*self.names.fields["content"], *self.names.fields["role"][:1], "data")
        self.lines = is_lines(path)
        self._offset, self._line = 0, 0
        self._file_chat = Chat(key_of(path.name), title=path.stem)

    @property
    def place(self) -> Place:
        return {**super().place, "offset": self._offset, "item": self._line} if self.lines else super().place

    def read(self, after: Place | None) -> Iterator[Found]:
        return self._read_lines(after or {}) if self.lines else super().read(after)

    def _read_lines(self, after: Place) -> Iterator[Found]:
        """A broken line is a reject; the next one is read all the same. A place is in a line."""
        self._offset, self._line = after.get("offset", 0), max(0, after.get("item", 0) - 1)
        skip = after.get("position", -1)
        with opened(self.path) as file:
            file.buffer.seek(self._offset)
            for line in file.buffer:
                self._line += 1
                self._bytes = self._offset + len(line)
                yield from self.passed(self._line, self._of_line(line), skip)
                self._offset, self._position, skip = self._bytes, -1, -1

    def _of_line(self, line: bytes) -> Iterator[Found]:
        text = line.decode("utf-8-sig" if self._line == 1 else "utf-8", "surrogateescape").strip()
        if not text:
            return
        try:
            value = loads(text)
        except ValueError as error:
            yield Broken(RejectReason.BROKEN_JSON, f"line {self._line}", str(error)[:200], text)
            return
        yield from self._found(value, self._line)

    def walk(self, stream: JsonStream, first: int, skip: int) -> Iterator[Found]:
        """An array goes element by element; in a large object its list of messages does."""
        if stream.peek() == "{" and self.path.stat().st_size > TAKEN_WHOLE:
            yield from self.passed(0, self._entered(stream), skip)
            return
        if stream.peek() != "[":
            yield from self.passed(0, self._found(stream.value(), 0), skip)
            return
        nested = False
        for item in stream.elements():
            value = stream.value()
            nested = nested or (not item and isinstance(value, list))  # a list of lists is one from its beginning
            if item >= first:
                found = (
                    self._found(value, item) if nested or not isinstance(value, list) else self._message(value, item)
                )
                yield from self.passed(item, found, skip if item == first else -1)

    def _entered(self, stream: JsonStream) -> Iterator[Found]:
        """One conversation larger than memory should be: what stands before its messages says whose it is."""
        head: dict[str, Any] = {}
        entered = False
        for name in stream.members():
            if name in self.lists and stream.peek() == "[":
                entered, chat = True, self._chat({**head, name: []}, name, 0)
                yield chat
                values = (stream.value() for _ in stream.elements())
                for position, (message, shown) in enumerate(unfolded(values)):
                    yield (
                        record_of(message, chat, position, self.names) if shown else replaced(message, chat, position)
                    )
            else:
                head[name] = stream.value()
        if not entered:
            yield from self._found(head, 0)

    def _found(self, value: Any, item: int) -> Iterator[Found]:
        """A conversation, a list of messages, or one message."""
        if isinstance(value, list):
            chat = Chat(key_of(self.path.name, item), title=f"{self.path.stem} {item}"[:200])
            yield chat
            yield from records_in(value, chat, self.names)
        elif isinstance(value, dict) and (name := self._list_in(value)):
            chat = self._chat(value, name, item)
            yield chat
            yield from records_in(look(value, (name,)), chat, self.names)
        else:
            yield from self._message(value, item)

    def _list_in(self, value: dict[str, Any]) -> str | None:
        return next((name for name in self.lists if isinstance(look(value, (name,)), list)), None)

    def _chat(self, value: dict[str, Any], messages: str, item: int) -> Chat:
        """What an object says beside its messages."""
        rest = dict(value)
        take(rest, (messages,))
        named = {field: take(rest, names) for field, names in self.of_chat.items()}
        metadata = rest.pop("metadata", None)
        rest |= metadata if isinstance(metadata, dict) else {}
        key = key_of(named["key"]) if named["key"] is not None else key_of(self.path.name, item)
        title = str(named["title"] or f"{self.path.stem} {item}")
        return Chat(key, named["user"], named["chat"], title, created=named["created"], metadata=rest)

    def _message(self, value: Any, item: int) -> Iterator[Found]:
        """Each line a message, most often with the name of its conversation."""
        if not isinstance(value, dict) or not has(value, self._needed):
            yield Broken(RejectReason.NOT_A_MESSAGE, f"item {item}", self._why_not(value, item), value)
            return
        named = {field: look(value, names) for field, names in self.of_line.items()}
        chat = self._file_chat
        if named["key"] is not None or named["chat"] is not None:
            key = key_of(named["key"]) if named["key"] is not None else key_of(named["chat"], named["user"])
            chat = Chat(key, named["user"], named["chat"], created=named["created"])
        yield chat
        yield record_of(value, chat, item, self.names)

    def _why_not(self, value: Any, item: int) -> str:
        """What it is instead; where it has a list, the way to say that this is the list of messages."""
        if not isinstance(value, dict):
            found = record_of(value, self._file_chat, item)
            return found.detail if isinstance(found, Broken) else ""
        lists = [name for name, inner in value.items() if isinstance(inner, list)]
        hint = f": --map messages={lists[0]}, if that is its list of messages" if lists else ""
        return f"an object without role and text{hint}"


def _mapped(fields: Fields, options: Options) -> Fields:
    """What --map says stands before the usual names."""
    if unknown := set(options.columns) - set(MAPPED):
        raise OptionError(f"--map knows {', '.join(MAPPED)}; not {', '.join(sorted(unknown))}.")
    given = {MAPPED[field]: column for field, column in options.columns.items()}
    return {field: (given[field],) if field in given else known for field, known in fields.items()}


def is_lines(path: Path) -> bool:
    """Is it one value a line? The first line alone decides, if it is one."""
    named_so = path.suffix.lower() in {".jsonl", ".ndjson"}
    with opened(path) as file:
        while (line := file.readline(FIRST_LINE)) and not line.strip():
            pass
        if line.lstrip().startswith("[") and not named_so:
            return False
        try:
            loads(line)
        except ValueError:
            return named_so
        return named_so or bool(file.readline(FIRST_LINE).strip())
