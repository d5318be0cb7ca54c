"""What stands between a model and the world: budgets, the lease, and the tools (docs/adr/0082).

LangGraph's agent loop calls it around every model call and every tool call.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain.agents.middleware import AgentMiddleware, AgentState, ModelRequest, ModelResponse
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, SystemMessage, ToolMessage

from agents import asking, calls, source
from agents.calls import Asked, Offer
from agents.config import Budgets
from agents.errors import NotOursError, OutOfBudgetError
from agents.request import Request
from agents.tools import Call
from config.crash import crash_point

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
    left_out: int = 0  # the oldest messages of the history that the model is not shown

    @property
    def left(self) -> float:
        """Seconds of the budget."""
        return self.budgets.seconds - self.request.spent_seconds - (time.monotonic() - self.begun)

    def check(self, messages: Sequence[AnyMessage]) -> None:
        """May the model be asked once more?"""
        if not self.request.still_ours():
            raise NotOursError
        if self.request.spent_tokens + spent(messages) >= self.budgets.tokens:
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
        answer = asking.ask(run, asked, handler)
        run.model_calls += 1
        crash_point("after_model")
        first = _first(request.state) + called(request.messages)
        return ModelResponse(result=[asking.stored(answer, first=first)])

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
