"""`conversations.messages` with `metadata.messageBuffer`: blobs again, and bursts that were open."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from conversations.legacy.blob import record_of
from conversations.legacy.json_stream import loads
from conversations.legacy.records import Broken, Chat, Found, Record
from conversations.legacy.sources.chat_sessions import ChatSessions

BUFFER = "messageBuffer"
STEP = ("interviewStep", "interview_step", "currentStep", "step")
QUESTION = ("questionContext", "question_context")
Waiting = tuple[Any, int | None]  # a message of the buffer, and the step it answers


class Conversations(ChatSessions):
    """What waits in a buffer comes behind the messages of its conversation, in the place it would get there."""

    kind = "conversations"
    TABLE = "conversations"

    def _made(self, row: tuple[Any, ...]) -> Chat:
        """The buffer leaves the metadata: it becomes messages that wait."""
        chat = super()._made(row)
        chat.step = chat.step or _first(chat.metadata, STEP) or 0
        self._buffer = list(waiting_in(chat.metadata.pop(BUFFER, None), None))
        return chat

    def _passed(self, found: Record | Broken) -> Iterator[Found]:
        """A message that is in the list already and still waits is stored once, and waits."""
        if self._buffer and isinstance(found, Record) and found.created is not None:
            for waiting, step in self._buffer:
                if isinstance(waiting, dict) and _same(record_of(waiting, found.chat, 0), found):
                    self._buffer.remove((waiting, step))
                    _let_wait(found, waiting, step)
                    break
        yield from super()._passed(found)

    def _rest(self, chat: Chat) -> Iterator[Found]:
        left, self._buffer = self._buffer, []
        for waiting, step in left:
            value = {"content": waiting} if isinstance(waiting, str) else waiting
            found = record_of(value, chat, self._length)
            if isinstance(found, Record):
                _let_wait(found, value, step)
            yield from self._passed(found)


def waiting_in(buffer: Any, step: int | None) -> Iterator[Waiting]:
    """The messages of a buffer: a list of them, an object with such a list, or one such object a step."""
    if isinstance(buffer, str):
        try:
            buffer = loads(buffer)
        except ValueError:
            yield buffer, step  # a text that waits
            return
    if isinstance(buffer, list):
        for message in buffer:
            yield message, step
    elif isinstance(buffer, dict) and isinstance(buffer.get("messages"), list):
        own = _first(buffer, STEP)
        yield from waiting_in(buffer["messages"], step if own is None else own)
    elif isinstance(buffer, dict) and "content" in buffer:
        yield buffer, step
    elif isinstance(buffer, dict):
        for name, inner in buffer.items():
            if isinstance(inner, list | dict):
                yield from waiting_in(inner, int(name) if name.isascii() and name.isdigit() else step)


def _let_wait(record: Record, value: dict[str, Any], step: int | None) -> None:
    """Whoever waits for an answer is the person, whatever the role says or leaves out."""
    question = next((value[name] for name in QUESTION if isinstance(value.get(name), str)), None)
    own = _first(value, STEP)
    record.role, record.waiting, record.question, record.step = "user", True, question, step if own is None else own


def _same(waiting: Record | Broken, said: Record) -> bool:
    """Equal texts alone are no proof: people say yes more than once."""
    if isinstance(waiting, Broken) or waiting.created is None:
        return False
    return (waiting.content, waiting.created) == (said.content, said.created)


def _first(values: dict[str, Any], names: tuple[str, ...]) -> int | None:
    return next((values[name] for name in names if type(values.get(name)) is int and values[name] >= 0), None)
