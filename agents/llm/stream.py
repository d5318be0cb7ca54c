"""The answer of a model as its chunks arrive: text, reasoning, refusal, tool calls and usage."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage

from agents.calls import NOT_JSON
from agents.errors import OutOfTimeError
from agents.outcomes import Usage

TAG = re.compile(r"<(/?)think(?:ing)?>", re.IGNORECASE)
TAG_START = re.compile(r"</?[thinkg]{0,8}\Z", re.IGNORECASE)  # the end of a chunk that may be the start of a tag
MAX_TOKENS = 100_000_000  # of one call; a larger figure is no count
MAX_REASONING = 8_000  # characters kept for staff


class ReasoningFilter:
    """Splits `<think>…</think>` from the text: tags may be cut by a chunk, never closed, or closed and never opened."""

    def __init__(self) -> None:
        self.text = self.reasoning = self._rest = ""
        self._inside = self._opened = False

    def feed(self, piece: str) -> None:
        parts = TAG.split(self._rest + piece)
        for text, closing in zip(parts[::2], [*parts[1::2], None], strict=True):
            if closing is None:
                self._rest = self._held_back(text)
                self._add(text.removesuffix(self._rest))
                return
            self._add(text)
            if closing and not self._opened:  # some servers leave the opening tag in the prompt
                self.reasoning, self.text = self.text[:MAX_REASONING], ""
            self._inside, self._opened = not closing, True

    def close(self) -> None:
        """The stream is over: what was held back is no tag."""
        self._add(self._rest)
        self._rest = ""

    def _add(self, text: str) -> None:
        if self._inside:
            self.reasoning = (self.reasoning + text)[:MAX_REASONING]
        else:
            self.text += text

    @staticmethod
    def _held_back(text: str) -> str:
        found = TAG_START.search(text)
        return found[0] if found else ""


@dataclass(slots=True)
class StreamedCall:
    """A tool call as far as it has arrived."""

    index: int | None
    id: str
    name: str = ""
    arguments: str = ""


class StreamedAnswer:
    """Collects the chunks of one answer, passes drafts on, and ends the stream once `over` is set."""

    def __init__(self, draft: Callable[[str], None] | None = None) -> None:
        self.over = threading.Event()
        self.finish_reason: str | None = None
        self.refusal = ""
        self.usage: Usage | None = None
        self.chunks = 0
        self._draft = draft
        self._filter = ReasoningFilter()
        self._calls: list[StreamedCall] = []
        self._whole: list[tuple[str, dict[str, Any]]] = []

    @classmethod
    def of(cls, message: AIMessage) -> StreamedAnswer:
        """The answer of a model that does not stream."""
        answer = cls()
        answer._filter.text = message.text
        answer._whole = [(call["name"], call["args"]) for call in message.tool_calls]
        answer.finish_reason = message.response_metadata.get("finish_reason")
        if counts := message.usage_metadata:
            answer.usage = Usage(counts["input_tokens"], counts["output_tokens"])
        return answer

    @property
    def text(self) -> str:
        return self._filter.text

    @property
    def reasoning(self) -> str:
        return self._filter.reasoning

    @property
    def tool_calls(self) -> list[tuple[str, dict[str, Any]]]:
        """Names and arguments; arguments that are not a JSON object stand under NOT_JSON."""
        return self._whole + [(call.name, _arguments(call.arguments)) for call in self._calls]

    def take(self, chunk: Mapping[str, Any]) -> None:
        """One chunk as it came over the wire."""
        if self.over.is_set():
            raise OutOfTimeError
        self.chunks += 1
        self.usage = valid_usage(chunk.get("usage")) or self.usage  # some servers count up in every chunk
        choice = (chunk.get("choices") or [None])[0] or {}
        delta = choice.get("delta") or {}
        self.finish_reason = choice.get("finish_reason") or self.finish_reason
        self.refusal += _string(delta.get("refusal"))
        for part in delta.get("tool_calls") or ():
            self._add_call(part)
        self._add_text(_string(delta.get("content")))

    def close(self) -> None:
        self._filter.close()

    def _add_text(self, piece: str) -> None:
        before = len(self.text)
        self._filter.feed(piece)
        if self._draft is not None and len(self.text) != before:
            self._draft(self.text)

    def _add_call(self, part: Mapping[str, Any]) -> None:
        function = part.get("function") or {}
        index, id_, name = part.get("index"), _string(part.get("id")), _string(function.get("name"))
        arguments = function.get("arguments")
        call = self._call_of(index, id_, name)
        if call.name != name:
            call.name += name
        call.arguments += json.dumps(arguments) if isinstance(arguments, dict) else _string(arguments)

    def _call_of(self, index: int | None, id_: str, name: str) -> StreamedCall:
        """The call this part continues. Servers that number all calls 0, or none, begin each with its name."""
        known = [call for call in self._calls if index is None or call.index in (index, None)]
        call = known[-1] if known else None
        if call is None or (name and _begins_another(call, index, id_)):
            call = StreamedCall(index, id_)
            self._calls.append(call)
        return call


def _begins_another(call: StreamedCall, index: int | None, id_: str) -> bool:
    if id_ and call.id and id_ != call.id:
        return True
    return (index is None and not id_) or _is_json(call.arguments)


def _is_json(text: str) -> bool:
    return bool(text) and NOT_JSON not in _arguments(text)


def valid_usage(counts: Any) -> Usage | None:
    """The counts of a server, or nothing where they cannot be counts."""
    if not isinstance(counts, Mapping):
        return None
    read, written = _count(counts.get("prompt_tokens")), _count(counts.get("completion_tokens", 0))
    return Usage(read, written) if read is not None and written is not None and read + written else None


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= MAX_TOKENS else None


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _arguments(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}", parse_constant=_refuse)
    except (ValueError, RecursionError):
        return {NOT_JSON: text}
    return found if isinstance(found, dict) else {NOT_JSON: text}


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
