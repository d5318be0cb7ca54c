"""The export of Telegram Desktop: `result.json` of one chat or of a whole account."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from conversations.legacy.json_stream import JsonStream
from conversations.legacy.records import Broken, Chat, Found, Record
from conversations.legacy.sources.files import JsonFile
from conversations.models import RejectReason

OWN = {"id", "date", "date_unixtime", "text", "from", "from_id", "type"}  # what has a column; text_entities stay
BOT_CHAT = "bot_chat"


class Telegram(JsonFile):
    """The assistant is the bot in a chat with one, the exporting account in a chat with a person, else --assistant."""

    kind = "telegram"

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.name = [self.kind]  # chats and messages have numbers of their own, in whichever file they come
        self._owner: str | None = None
        self._chat = -1

    def walk(self, stream: JsonStream, first: int, skip: int) -> Iterator[Found]:
        """Of a whole account its chats, those that were left included; else the chat the file is."""
        self._chat = -1
        yield from self._enter(stream, first, skip)

    def _enter(self, stream: JsonStream, first: int, skip: int) -> Iterator[Found]:
        head: dict[str, Any] = {}
        for name in stream.members():
            if name in {"chats", "left_chats"} and stream.peek() == "{":
                for inner in stream.members():
                    if inner == "list" and stream.peek() == "[":
                        for _ in stream.elements():
                            yield from self._enter(stream, first, skip)
                    else:
                        stream.value()
            elif name == "messages" and stream.peek() == "[":
                self._chat += 1
                found = self._messages(stream, head)
                if self._chat >= first:
                    yield from self.passed(self._chat, found, skip if self._chat == first else -1)
                else:
                    for _ in found:
                        pass
            else:
                head[name] = stream.value()
                if name == "personal_information" and isinstance(head[name], dict):
                    self._owner = f"user{head[name].get('user_id')}"

    def _messages(self, stream: JsonStream, head: dict[str, Any]) -> Iterator[Found]:
        peer, private = head.get("id"), head.get("type") in {"personal_chat", "saved_messages", BOT_CHAT}
        user = peer if private and head.get("type") != BOT_CHAT else self._number(self._owner) or peer
        title = str(head.get("name") or "")
        kept = {"telegram": {name: head[name] for name in ("type", "name") if name in head}}
        chat = Chat(f"[{peer}]", user, peer, title, metadata=kept)
        yield chat
        for position in stream.elements():
            value = stream.value()
            if not isinstance(value, dict):
                what = type(value).__name__
                yield Broken(RejectReason.NOT_A_MESSAGE, f"message {position}", what, value, chat)
            else:
                yield self._record(value, chat, head, position)

    def _record(self, value: dict[str, Any], chat: Chat, head: dict[str, Any], position: int) -> Record:
        metadata = {name: value[name] for name in value if name not in OWN and value[name] not in ("", [], None)}
        if _is_rich(value.get("text")) and "text_entities" not in metadata:
            metadata["text_entities"] = value["text"]
        service = value.get("type") == "service"
        told = {name: value[name] for name in ("from", "from_id") if value.get(name)} | metadata
        role, text = ("system", _service(value)) if service else (self._role(value, head), _text(value))
        return Record(
            chat, position, role, text, value.get("id"), value.get("date_unixtime") or value.get("date"),
            metadata={"telegram": told} if told else None, author=value.get("from") or value.get("actor"),
        )  # fmt: skip

    def _role(self, value: dict[str, Any], head: dict[str, Any]) -> str:
        speaker, peer = str(value.get("from_id")), f"user{head.get('id')}"
        if self.options.assistants:
            named = {speaker, speaker.removeprefix("user"), str(value.get("from"))}
            return "assistant" if named & self.options.assistants else "user"
        if head.get("type") == BOT_CHAT:
            return "assistant" if speaker == peer else "user"
        return "assistant" if head.get("type") == "personal_chat" and speaker != peer else "user"

    @staticmethod
    def _number(owner: str | None) -> int | None:
        digits = (owner or "").removeprefix("user")
        return int(digits) if digits.isascii() and digits.isdigit() else None


def _text(value: dict[str, Any]) -> str:
    """Pieces with and without markup, as one text; a picture without words is an empty one."""
    text = value.get("text")
    pieces = text if isinstance(text, list) else [text]
    return "".join(
        piece if isinstance(piece, str) else str(piece.get("text", ""))
        for piece in pieces
        if isinstance(piece, str | dict)
    )


def _is_rich(text: Any) -> bool:
    return isinstance(text, list) and any(isinstance(piece, dict) for piece in text)


def _service(value: dict[str, Any]) -> str:
    """What happened, in the words of the export."""
    action = str(value.get("action") or "service").replace("_", " ")
    return f"{value['actor']}: {action}" if value.get("actor") else action
