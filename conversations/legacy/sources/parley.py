"""What `manage.py export_conversations` writes: a line for each conversation, and one for each of its messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from conversations.legacy.records import Broken, Chat, Found, Record
from conversations.legacy.sources.json_messages import JsonMessages
from conversations.models import RejectReason

FORMAT = "parley"


class Parley(JsonMessages):
    """Field by field, so that nothing is guessed; what waited for an answer waits again."""

    kind = FORMAT

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.name, self.lines = [self.kind], True  # conversations have ids of their own, in whichever file they come
        self._now: Chat | None = None

    def _found(self, value: Any, item: int) -> Iterator[Found]:
        if isinstance(value, dict) and value.get("type") == "conversation":
            self._now = _chat(value)
            yield self._now
            return
        if not isinstance(value, dict) or value.get("type") != "message":
            yield Broken(RejectReason.NOT_A_MESSAGE, f"line {item}", "neither a conversation nor a message", value)
            return
        key = _visible(value.get("conversation_id"))
        if self._now is None or self._now.key != key:
            self._now = Chat(key)  # read on from the middle: the conversation is known already
            yield self._now
        yield Record(
            self._now, value.get("message_index", item), value.get("role"), value.get("content"),
            value.get("external_id"), value.get("created_at"), value.get("deleted_at"), value.get("metadata") or None,
            value.get("author"), waiting=bool(value.get("waiting")), step=value.get("step"),
            question=value.get("question_context"),
        )  # fmt: skip


def _chat(value: dict[str, Any]) -> Chat:
    return Chat(
        _visible(value.get("id")), value.get("user_id"), value.get("chat_id"), str(value.get("title") or ""),
        value.get("channel"), value.get("mode") != "closed", value.get("interview_step") or 0,
        value.get("metadata") or {}, value.get("created_at"),
    )  # fmt: skip


def _visible(key: object) -> str:
    return str(key).encode("ascii", "backslashreplace").decode()
