"""The model that needs no network: it walks an interview, or answers from what the person said before.

It is a chat model like any other, so everything around it (tools, budgets, checkpoints) works as with a real one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import ConfigDict

from agents.llm.phrases import phrase
from agents.prompt import AGAIN, ANSWERED

LETTERS = re.compile(r"[^\W_]", re.UNICODE)
EVASIVE = re.compile(
    r"(?i)^\W*(i (don'?t|do not) know|don'?t know|dunno|idk|no idea|no comment|not sure|pass|skip|nothing|whatever|hm+|"
    r"не знаю|хз|без понятия|без комментариев|не уверена?|пропустить|пропустим|ничего|неважно|хм+)\W*$"
)
GREETING = re.compile(
    r"(?i)^\W*(hi|hello|hey|good (morning|day|afternoon|evening)|greetings|(i am|i'?m) ready|ready|start|"
    r"let'?s (go|start|begin)|"
    r"привет\w*|здравствуй(те)?|добр(ый день|ый вечер|ое утро)|готова?|старт|начн[её]м|поехали|давай(те)? начн[её]м)\b"
)
TOLD = 4  # words that are more than a greeting
SHOWN = 200  # characters of an answer in the summary


@dataclass(frozen=True, slots=True)
class Script:
    """What the model knows of the turn beside the messages."""

    language: str
    questions: tuple[str, ...] = ()
    greeting: str = ""
    step: int = 0
    late: bool = False
    burst: tuple[str, ...] = ()


class ScriptedModel(BaseChatModel):
    """Deterministic: the same messages and the same script give the same answer."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    script: Script = Script("en")
    tools: tuple[str, ...] = ()

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **_options: Any) -> Any:
        return self.model_copy(update={"tools": tuple(tool.name for tool in tools)})

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,  # noqa: ARG002  the interface of chat models
        run_manager: Any = None,  # noqa: ARG002
        **_options: Any,
    ) -> ChatResult:
        answer = self._interview(messages) if self.script.questions else self._chat(messages)
        answer.usage_metadata = {
            "input_tokens": (read := sum(_words(message) for message in messages)),
            "output_tokens": (wrote := _words(answer)),
            "total_tokens": read + wrote,
        }
        answer.response_metadata = {"finish_reason": "stop", "model_name": "scripted"}
        return ChatResult(generations=[ChatGeneration(message=answer)])

    # --- an interview ---
    def _interview(self, messages: list[BaseMessage]) -> AIMessage:
        """Step 0 greets and asks; each answer moves one step on; the last one is followed by a summary."""
        script, step, last = self.script, self.script.step, len(self.script.questions)
        if script.late:
            return AIMessage(self._say("late"))
        if step == 0:
            return AIMessage(self._opening(messages))
        if step > last:
            return AIMessage(self._say("over"))
        if is_evasive(script.burst) and self._say("again") not in _last_answer(messages):
            return AIMessage(f"{AGAIN}{self._say('again')} {script.questions[step - 1]}")
        if step < last:
            return AIMessage(f"{self._thanks()} {script.questions[step]}")
        return AIMessage(self._summary(messages))

    def _opening(self, messages: list[BaseMessage]) -> str:
        """Greeting and first question; an opening burst that tells something is the answer to it already."""
        questions, greeting = self.script.questions, self.script.greeting or self._say("hello")
        if not tells(self.script.burst):
            return f"{greeting} {questions[0]}"
        rest = f"{self._thanks()} {questions[1]}" if len(questions) > 1 else self._summary(messages)
        return f"{ANSWERED}{greeting} {rest}"

    def _thanks(self) -> str:
        count = len(self.script.burst)
        return self._say("one") if count == 1 else self._say("many").format(count=count)

    def _summary(self, messages: list[BaseMessage]) -> str:
        lines = [f"{number}. {question} – {answer}" for number, question, answer in self._answers(messages)]
        return "\n".join([self._say("summary"), *lines, self._say("end")])

    def _answers(self, messages: list[BaseMessage]) -> list[tuple[int, str, str]]:
        """Each question with what was said between it and the next; the first also with what was told before it."""
        asked = -1
        said: dict[int, list[str]] = {}
        before = ""
        for message in messages:
            if isinstance(message, AIMessage):
                found = [number for number, text in enumerate(self.script.questions) if text in str(message.content)]
                if asked < 0 and found and tells(before.splitlines()):
                    said[0] = [" ".join(before.split())]
                asked = found[-1] if found else asked
            elif isinstance(message, HumanMessage) and asked < 0:
                before = str(message.content)
            elif isinstance(message, HumanMessage) and asked >= 0:
                said.setdefault(asked, []).append(" ".join(str(message.content).split()))
        return [(n + 1, self.script.questions[n], _short(" ".join(texts))) for n, texts in sorted(said.items())]

    # --- a chat ---
    def _chat(self, messages: list[BaseMessage]) -> AIMessage:
        """Look up what the person asks about, then answer with references."""
        if isinstance(messages[-1], ToolMessage):
            return AIMessage(self._from_hits(str(messages[-1].content)))
        if "recall" in self.tools:
            call = {"name": "recall", "args": {"query": " ".join(self.script.burst)[:500]}, "id": "recall"}
            return AIMessage("", tool_calls=[call])
        return AIMessage(f"{self._say('plain')} {self._say('offline')}")

    def _from_hits(self, content: str) -> str:
        try:
            hits = json.loads(content)["hits"]
        except (ValueError, KeyError, TypeError):
            hits = []
        if not hits:
            return self._say("nothing")
        lines = [f"[{n}] {hit['when'][:10]}: {_short(hit['text'])}" for n, hit in enumerate(hits, 1)]
        return "\n".join([self._say("found"), *lines])

    def _say(self, name: str) -> str:
        return phrase(name, self.script.language)


def is_evasive(burst: Sequence[str]) -> bool:
    """Nothing was said, or only that nothing will be."""
    said = [text for text in burst if LETTERS.search(text)]
    return all(EVASIVE.match(text) for text in said)


def tells(burst: Sequence[str]) -> bool:
    """Did they begin with more than a greeting, a question or nothing?"""
    said = [
        text for text in burst if not (GREETING.match(text) and len(text.split()) < TOLD) and not is_evasive([text])
    ]
    return sum(len(text.split()) for text in said if not text.rstrip().endswith("?")) >= TOLD


def _last_answer(messages: list[BaseMessage]) -> str:
    return next((str(message.content) for message in reversed(messages) if isinstance(message, AIMessage)), "")


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def _words(message: BaseMessage) -> int:
    return len(str(message.content).split())
