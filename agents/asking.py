"""One question to a model: a prompt that fits, another one where the server refuses it, and the answer as it is stored.

What a server can be helped with in the same attempt: a history too long for its context or refused by its filter, and
a field of the request that it does not know.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from django.conf import settings
from langchain.agents.middleware import ModelRequest, ModelResponse
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage

from agents import prompt
from agents.errors import (
    AgentBrokenError,
    AgentError,
    ContextExceededError,
    InputFilteredError,
    OutOfBudgetError,
    UnacceptableInputError,
    UnsupportedFieldError,
)
from agents.llm import compatible
from agents.llm.scripted import ScriptedModel
from agents.llm.stream import StreamedAnswer
from agents.outcomes import NOTHING, Usage
from agents.request import Request
from agents.text import storable

if TYPE_CHECKING:
    from agents.guard import Run

logger = structlog.get_logger(__name__)

INCOMPLETE = "The model's answer was cut off."
LENGTH = {"length", "max_tokens", "model_length"}  # finish reasons of an answer that is not whole
FILTERED = {"content_filter", "safety", "prohibited_content", "blocklist"}

Handler = Callable[[ModelRequest[Any]], ModelResponse[Any]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came, and what is known of the call."""

    streamed: StreamedAnswer
    usage: Usage
    estimated: bool  # the server did not count
    left_out: int
    milliseconds: int


def ask(run: Run, request: ModelRequest[Any], handler: Handler) -> Answer:
    """The model's answer. An AgentError carries what the failed call has cost."""
    begun = time.monotonic()
    while True:
        sent, streamed = _fitted(run, request), StreamedAnswer(_draft(run))
        try:
            streamed = _streamed(run, sent, handler, streamed)
            _check(streamed)
        except AgentError as error:
            error.usage = _usage(run, sent, streamed) if streamed.chunks else NOTHING
            if not _adapted(run, error):
                raise _named(run, request, error) from error
        else:
            usage = _usage(run, sent, streamed)
            milliseconds = round(1000 * (time.monotonic() - begun))
            return Answer(streamed, usage, streamed.usage is None, run.left_out, milliseconds)


def stored(answer: Answer, *, first: int) -> AIMessage:
    """The answer in a form that can be stored and gone on from."""
    streamed, usage = answer.streamed, answer.usage
    known = {
        "finish_reason": streamed.finish_reason,
        "ms": answer.milliseconds,
        "usage_estimated": answer.estimated,
        "history_left_out": answer.left_out,
        "refusal": storable(streamed.refusal),
        "reasoning": storable(streamed.reasoning),
    }
    return AIMessage(
        storable(streamed.text),
        # The number of a call is its name: unique in the turn, whatever ids a model makes up.
        tool_calls=[
            {"name": str(storable(name)), "args": storable(args), "id": f"call_{first + n}", "type": "tool_call"}
            for n, (name, args) in enumerate([] if is_filtered(streamed.finish_reason) else streamed.tool_calls, 1)
        ],
        usage_metadata={
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "total_tokens": usage.input_tokens + usage.output_tokens,
        },
        response_metadata={key: value for key, value in known.items() if value},
    )


def is_cut(finish_reason: str | None) -> bool:
    """The server's limit of length ended the answer."""
    return (finish_reason or "").lower() in LENGTH


def is_filtered(finish_reason: str | None) -> bool:
    """The server's content filter ended the answer."""
    return (finish_reason or "").lower().partition(":")[0] in FILTERED


def shown(request: Request, left_out: int = 0) -> list[AnyMessage]:
    """The conversation as messages of a prompt."""
    said = prompt.conversation(request, left_out)
    return [HumanMessage(one.content) if one.role == "user" else AIMessage(one.content) for one in said]


def _streamed(run: Run, request: ModelRequest[Any], handler: Handler, answer: StreamedAnswer) -> StreamedAnswer:
    if isinstance(run.model, ScriptedModel):  # it neither waits nor streams
        message = handler(request).result[0]
        if not isinstance(message, AIMessage):
            raise AgentError(f"The model answered with a {type(message).__name__}.")
        return StreamedAnswer.of(message)
    counts = compatible.supports(run.model_name, "stream_options")
    model = run.model.model_copy(update={"answer": answer, "stream_usage": counts})  # shallow: the client is shared
    seconds = max(0.1, min(run.left, float(settings.LLM_TIMEOUT)))
    compatible.within(
        lambda: handler(request.override(model=model)), answer, seconds=seconds, still_ours=run.request.still_ours
    )
    return answer


def _draft(run: Run) -> Callable[[str], None] | None:
    """Listener of the growing answer, which is not shown the markers of an interview."""
    draft = run.request.draft
    return (lambda text: draft(prompt.unmarked(text))) if draft else None


def _check(answer: StreamedAnswer) -> None:
    """Raises where the answer is of no use; what ended by length, filter or refusal is an answer without text."""
    reason = answer.finish_reason
    if reason is None:
        raise AgentError(INCOMPLETE)
    ended = answer.refusal.strip() or is_cut(reason) or is_filtered(reason)
    if not answer.tool_calls and not answer.text.strip() and not ended:
        raise AgentError(f"The model's answer was empty (it ended with {reason!r}).")


# --- a prompt that fits ---


def _fitted(run: Run, request: ModelRequest[Any]) -> ModelRequest[Any]:
    """The request with as much of the history as half of the budget has room for; the rest is for answers and tools."""
    if isinstance(run.model, ScriptedModel):
        return request
    if not compatible.supports(run.model_name, "tools"):
        request = request.override(tools=[])
    steps = _steps(run, request)
    history = run.request.history
    needed = _tokens(run, request, [*shown(run.request, len(history)), *steps])
    if needed > run.budgets.tokens:
        raise OutOfBudgetError(f"The prompt alone exceeds the budget of {run.budgets.tokens} tokens.")
    while run.left_out < len(history):
        rest = history[run.left_out :]
        if needed + sum(prompt.tokens(said.content) for said in rest) <= run.budgets.tokens // 2:
            break
        run.left_out += 1
    return request.override(messages=[*shown(run.request, run.left_out), *steps])


def _steps(run: Run, request: ModelRequest[Any]) -> list[AnyMessage]:
    """What the model and the tools said in this turn."""
    return list(request.messages[len(prompt.conversation(run.request)) :])


def _tokens(run: Run, request: ModelRequest[Any], messages: list[AnyMessage]) -> int:
    """An estimate of a prompt: instructions, tools and messages."""
    offers = [o.description + json.dumps(o.schema) for o in run.offers.values()] if request.tools else []
    said = [m.text + (json.dumps(m.tool_calls) if isinstance(m, AIMessage) and m.tool_calls else "") for m in messages]
    return sum(map(prompt.tokens, [run.instructions, *offers, *said]))


def _usage(run: Run, request: ModelRequest[Any], answer: StreamedAnswer) -> Usage:
    """What the server counted; an estimate where it did not."""
    if answer.usage is not None:
        return answer.usage
    calls = "".join(f"{name}{args}" for name, args in answer.tool_calls)
    wrote = prompt.tokens(answer.text + answer.reasoning + answer.refusal + calls)
    return Usage(_tokens(run, request, list(request.messages)), wrote)


# --- another prompt ---


def _adapted(run: Run, error: AgentError) -> bool:
    """Whether the same question is worth asking again in another form."""
    history = len(run.request.history)
    match error:
        case UnsupportedFieldError(field=name) if compatible.supports(run.model_name, name):
            compatible.remember_unsupported(run.model_name, name)
            return True
        case ContextExceededError() if run.left_out < history:
            run.left_out = (run.left_out + history + 1) // 2
        case InputFilteredError() if run.left_out < history:
            run.left_out = history
        case _:
            return False
    logger.warning("model.history_shortened", reason=type(error).__name__, left_out=run.left_out, of=history)
    return True


def _named(run: Run, request: ModelRequest[Any], error: AgentError) -> AgentError:
    """A refusal of the burst alone, without any history or result of a tool, is final for its messages."""
    if not isinstance(error, ContextExceededError | InputFilteredError):
        return error
    kind = AgentBrokenError if _steps(run, request) else UnacceptableInputError
    return kind(str(error), usage=error.usage)
