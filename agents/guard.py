"""What stands between a model and the world: budgets, the lease, and the tools (docs/adr/0082).

LangGraph's agent loop calls it around every model call and every tool call.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from langchain.agents.middleware import AgentMiddleware, AgentState, ModelRequest, ModelResponse
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, SystemMessage, ToolMessage
from langchain_core.messages.ai import UsageMetadata

from agents import calls, source
from agents.calls import Asked, Offer
from agents.config import Budgets
from agents.errors import AgentError, NotOursError, OutOfBudgetError
from agents.llm import compatible
from agents.llm.scripted import ScriptedModel
from agents.request import Request
from agents.text import storable
from agents.tools import Call
from config.crash import crash_point

Wanted = tuple[str, dict[str, Any]]  # a tool by its name, and the arguments

CUT = "The model's answer was cut off."
SPENT = "The budget of this turn is used up: it was not called. Answer with what you have."


class TurnState(AgentState[Any]):  # type: ignore[misc]
    """What is checkpointed beside the messages: what was asked, and how many calls earlier runs made."""

    digest: str
    first_call: int


@dataclass
class Run:
    """One run of a turn: what the graph is told that must not be checkpointed."""

    request: Request
    model: BaseChatModel
    model_name: str
    instructions: str
    offers: dict[str, Offer]
    budgets: Budgets
    agent: str
    agent_version: int
    begun: float = field(default_factory=time.monotonic)
    model_calls: int = 0

    @property
    def left(self) -> float:
        """Seconds of the budget."""
        return self.budgets.seconds - (time.monotonic() - self.begun)

    def check(self, messages: Sequence[AnyMessage]) -> None:
        """May the model be asked once more?"""
        if not self.request.still_ours():
            raise NotOursError
        if spent(messages) >= self.budgets.tokens:
            raise OutOfBudgetError(f"The budget of {self.budgets.tokens} tokens is used up.")
        if self.left <= 0:
            raise OutOfBudgetError(f"The budget of {self.budgets.seconds:.0f} seconds is used up.")
        if answered(messages) > self.budgets.tool_calls + 1:
            raise OutOfBudgetError(f"The budget of {self.budgets.tool_calls} tool calls is used up.")


class Guard(AgentMiddleware[TurnState, Run]):  # type: ignore[misc]
    """Asks the model, and calls the tools, in place of the loop's own ways."""

    state_schema = TurnState

    def wrap_model_call(
        self, request: ModelRequest[Run], handler: Callable[[ModelRequest[Run]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """An answer that is of no use raises here, before it is checkpointed: the next attempt asks again."""
        run = request.runtime.context
        run.check(request.messages)
        asked = request.override(
            model=run.model,
            system_message=SystemMessage(run.instructions),
            tools=request.tools if called(request.messages) < run.budgets.tool_calls else [],
        )
        crash_point("before_model")
        begun = time.monotonic()
        message, wanted = _asked(run, asked, handler)
        run.model_calls += 1
        crash_point("after_model")
        answer = usable(message, wanted, first=_first(request.state) + called(request.messages))
        answer.usage_metadata = message.usage_metadata or guessed(asked, answer)
        answer.response_metadata = {
            "finish_reason": message.response_metadata.get("finish_reason"),
            "ms": round(1000 * (time.monotonic() - begun)),
        }
        return ModelResponse(result=[answer])

    def wrap_tool_call(self, request: Any, handler: Callable[[Any], Any]) -> ToolMessage:  # noqa: ARG002
        """Never the loop's own way: every call is checked, counted and recorded by `agents.calls`."""
        run, asked = request.runtime.context, request.tool_call
        number, first = int(asked["id"].removeprefix("call_")), _first(request.state)
        refused = ""
        if number - first > run.budgets.tool_calls or run.left <= 0:
            refused = SPENT
        elif not run.request.still_ours():
            raise NotOursError
        told = calls.perform(
            Call(
                turn_id=run.request.turn_id,
                number=number,
                conversation_id=run.request.conversation_id,
                user_id=run.request.user_id,
                agent=run.agent,
                agent_version=run.agent_version,
                message_id=source.of(run.request, asked["args"]),
            ),
            Asked(asked["name"], asked["args"]),
            run.offers.get(asked["name"]),
            first=first,
            refused=refused,
        )
        crash_point("after_tool")
        return ToolMessage(told, tool_call_id=asked["id"], name=asked["name"])


def _asked(
    run: Run, request: ModelRequest[Run], handler: Callable[[ModelRequest[Run]], ModelResponse[Any]]
) -> tuple[AIMessage, list[Wanted]]:
    def ask(drafts: compatible.Drafts) -> tuple[AIMessage, list[Wanted]]:
        model = request.model.model_copy(update={"callbacks": [drafts]})  # a shallow copy: the client is shared
        message = handler(request.override(model=model)).result[0]
        if not isinstance(message, AIMessage):
            raise AgentError(f"The model answered with a {type(message).__name__}.")
        return message, drafts.wanted(message)

    if isinstance(run.model, ScriptedModel):
        return ask(compatible.Drafts(None, threading.Event()))  # it neither waits nor streams
    seconds = max(0.1, min(run.left, float(settings.LLM_TIMEOUT)))
    return compatible.within(ask, seconds=seconds, still_ours=run.request.still_ours, draft=run.request.draft)


def usable(message: AIMessage, wanted: list[Wanted], *, first: int) -> AIMessage:
    """The answer in a form that can be stored and gone on from; raises where there is nothing in it."""
    text = storable(message.text)
    reason = message.response_metadata.get("finish_reason")
    if reason is None:
        raise AgentError(CUT)
    if not wanted and not text.strip():
        raise AgentError(f"The model's answer was empty (it ended with {reason!r}).")
    return AIMessage(
        text,
        # The number of a call is its name: unique in the turn, whatever ids a model makes up.
        tool_calls=[
            {"name": str(storable(name)), "args": storable(args), "id": f"call_{first + n}", "type": "tool_call"}
            for n, (name, args) in enumerate(wanted, 1)
        ],
    )


def spent(messages: Sequence[AnyMessage]) -> int:
    """Tokens the turn cost so far."""
    return sum(m.usage_metadata["total_tokens"] for m in messages if isinstance(m, AIMessage) and m.usage_metadata)


def called(messages: Sequence[AnyMessage]) -> int:
    """Tool calls of this run so far."""
    return sum(len(message.tool_calls) for message in messages if isinstance(message, AIMessage))


def answered(messages: Sequence[AnyMessage]) -> int:
    """Rounds of tool calls so far: each had at least one."""
    return sum(bool(message.tool_calls) for message in messages if isinstance(message, AIMessage))


def _first(state: Any) -> int:
    return int(state.get("first_call") or 0)


def guessed(asked: ModelRequest[Run], answer: AIMessage) -> UsageMetadata:
    """A server that does not count is counted for: four characters a token, never nothing."""
    read = 1 + sum(len(message.text) for message in asked.messages) // 4
    wrote = 1 + (len(answer.text) + sum(len(str(call["args"])) for call in answer.tool_calls)) // 4
    return {"input_tokens": read, "output_tokens": wrote, "total_tokens": read + wrote}
