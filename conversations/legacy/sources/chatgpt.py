"""The export of ChatGPT: `conversations.json`, each conversation a tree of messages of which one branch was shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from conversations.legacy.json_stream import JsonStream
from conversations.legacy.records import Broken, Chat, Found, Record
from conversations.legacy.sources.files import JsonFile, key_of
from conversations.models import RejectReason

TEXT = {"text", "multimodal_text", "code", "execution_output"}


class ChatGpt(JsonFile):
    """What was shown is imported in its order; every other branch is kept among the rejects."""

    kind = "chatgpt"

    def walk(self, stream: JsonStream, first: int, skip: int) -> Iterator[Found]:
        for item in stream.elements():
            value = stream.value()
            if item >= first:
                yield from self.passed(item, self._found(value, item), skip if item == first else -1)

    def _found(self, value: Any, item: int) -> Iterator[Found]:
        nodes = value.get("mapping") if isinstance(value, dict) else None
        if not isinstance(nodes, dict):
            yield Broken(RejectReason.NOT_A_LIST, f"conversation {item}", "no mapping", value)
            return
        id_ = value.get("conversation_id") or value.get("id")
        chat = Chat(key_of(id_ or item), title=str(value.get("title") or ""), created=value.get("create_time"))
        yield chat
        shown = _shown(nodes, value.get("current_node"))
        position = 0
        for name in [*shown, *(name for name in nodes if name not in set(shown))]:
            node = nodes[name] if isinstance(nodes[name], dict) else {}
            message = node.get("message")
            if not isinstance(message, dict) or _says_nothing(message):
                continue
            record = _record(message, chat, position)
            position += 1
            if name in shown:
                yield record
            else:
                yield Broken(RejectReason.BRANCH, f"message {name}"[:200], "an answer that was replaced", message, chat)


def _shown(nodes: dict[str, Any], current: Any) -> list[str]:
    """From the node that was seen last up to the root; without one, from the last node."""
    path: list[str] = []
    name = current if isinstance(current, str) and current in nodes else next(reversed(nodes), None)
    while isinstance(name, str) and name in nodes and name not in path:
        path.append(name)
        name = nodes[name].get("parent") if isinstance(nodes[name], dict) else None
    return path[::-1]


def _record(message: dict[str, Any], chat: Chat, position: int) -> Record:
    author, content = message.get("author") or {}, message.get("content") or {}
    kept = {name: message[name] for name in ("status", "recipient", "metadata") if message.get(name)}
    return Record(
        chat, position, author.get("role"), _text(content), message.get("id"), message.get("create_time"),
        metadata=kept | ({"content": content} if content.get("content_type") != "text" else {}),
        author=author.get("name"),
    )  # fmt: skip


def _text(content: dict[str, Any]) -> Any:
    parts = content.get("parts")
    if isinstance(parts, list):
        return "\n".join(part for part in parts if isinstance(part, str))
    return content.get("text") or content.get("result")


def _says_nothing(message: dict[str, Any]) -> bool:
    """The empty frames that hold a tree together."""
    content = message.get("content")
    return not isinstance(content, dict) or (content.get("content_type") in TEXT and not _text(content))
