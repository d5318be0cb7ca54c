"""A turn as a LangGraph run: begun or gone on with, and what came of it as an outcome.

The loop of model and tools is LangChain's `create_agent`, its state is in PostgreSQL after every step, and its thread
is the turn. A run that died goes on after the last step it finished: an answer that is checkpointed is not asked for
again.
"""

from __future__ import annotations

import hashlib
import json
import time
from functools import lru_cache
from typing import Any

import structlog
from django.conf import settings
from django.db.models import Max
from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, ToolMessage
from langchain_core.tools import StructuredTool
from langgraph.checkpoint.postgres import PostgresSaver

from agents import asking, calls, checkpoints, prompt
from agents.config import SCRIPTED
from agents.errors import AgentBrokenError, AgentError, OutOfBudgetError
from agents.guard import Guard, Run, TurnState
from agents.llm import compatible, model_name
from agents.llm.phrases import language_of, phrase
from agents.llm.scripted import Script, ScriptedModel
from agents.models import ToolCall
from agents.outcomes import Outcome, Refused, Replied, Usage
from agents.registry import Speaking
from agents.request import Request

logger = structlog.get_logger(__name__)

CALL_FIELDS = ("ms", "finish_reason", "usage_estimated")  # of a model call, in the trace
REASONS = {  # of an answer that is not sent, by its state
    "filtered": "The content filter of the model's server ended the answer.",
    "refused": "The model refused to answer.",
    "empty": "The model reached its limit of length before it said anything.",
}
MOST_STEPS = 250  # supersteps of the graph; the budgets end a loop long before


def answer(request: Request, speaking: Speaking) -> Outcome:
    """Run the turn, or go on with it."""
    config, version, agent = speaking
    run = Run(
        request=request,
        model=_model(request, speaking),
        model_name=model_name(config),
        instructions=prompt.system(config, request),
        offers=calls.offered(agent, config.tools),
        budgets=config.budgets,
        agent=agent.name,
        agent_version=version,
    )
    with checkpoints.outages_are_outages():
        try:
            return _concluded(run, speaking, _messages(run))
        except OutOfBudgetError as error:
            return _stopped(run, error)
        except AgentError as error:
            if error.permanent or request.last_run:  # no later run goes on from these calls and counts them
                error.usage = _sum(error.usage, usage(_checkpointed(run)))
            raise


def _messages(run: Run) -> list[AnyMessage]:
    """All messages of the turn, the answer last."""
    thread, digest = str(run.request.turn_id), _digest(run)
    graph = _graph(_Tools.of(run))
    found = None if run.request.first_run else checkpoints.state(thread)
    start: dict[str, Any] | None = None
    if found is None or found.checkpoint["channel_values"].get("digest") != digest:
        if found is not None:
            checkpoints.forget(thread)  # begun over other input, or by another version of the agent
        start = {"messages": asking.shown(run.request), "digest": digest, "first_call": _calls_before(run.request)}
    else:
        logger.info("turn goes on from its checkpoint")
    where = checkpoints.at(thread) | {"recursion_limit": MOST_STEPS}
    # What a tool will do is stored before it does it. Without tools there is nothing to go on from but the answer.
    durability = "sync" if run.offers else "exit"
    values = graph.invoke(start, where, context=run, durability=durability)
    messages: list[AnyMessage] = values["messages"]
    return messages


def _concluded(run: Run, speaking: Speaking, messages: list[AnyMessage]) -> Replied | Refused:
    last = messages[-1]
    if not isinstance(last, AIMessage):
        raise AgentBrokenError("The run ended without an answer.")
    refusal, cost = str(last.response_metadata.get("refusal", "")).strip(), usage(messages)
    state = _state(last, refusal)
    told = trace(run, messages) | {"answer": state}
    if state != "whole":
        logger.warning("model.answer_not_whole", answer=state)
    if state in REASONS:
        return Refused(REASONS[state], refusal or _apology(run, speaking), cost, told)
    text, next_step = prompt.concluded(speaking.config, run.request, last.text.strip())
    if not text:
        raise AgentError("The model's answer was empty.", usage=cost)
    if state == "cut":  # the next question of an interview may be in the half that is missing
        note = phrase("cut", language_of(run.request.burst))
        return Replied(f"{text} …\n\n{note}", None, cost, told)
    return Replied(text, next_step, cost, told)


def _state(answer: AIMessage, refusal: str) -> str:
    reason = answer.response_metadata.get("finish_reason")
    if asking.is_filtered(reason):
        return "filtered"
    if not answer.text.strip():
        return "refused" if refusal else "empty"
    return "cut" if asking.is_cut(reason) else "whole"


def _apology(run: Run, speaking: Speaking) -> str:
    return speaking.config.on_failure or phrase("sorry", language_of(run.request.burst))


def _stopped(run: Run, error: OutOfBudgetError) -> Refused:
    """The budget ends the turn, not the conversation: the person is told, staff see why and what it cost."""
    messages = _checkpointed(run)
    logger.warning("budget used up", reason=str(error))
    text = phrase("budget", language_of(run.request.burst))
    return Refused(str(error), text, usage(messages), trace(run, messages))


def _checkpointed(run: Run) -> list[AnyMessage]:
    found = checkpoints.state(str(run.request.turn_id))
    messages: list[AnyMessage] = found.checkpoint["channel_values"].get("messages", []) if found else []
    return messages


def usage(messages: list[AnyMessage]) -> Usage:
    counts = [m.usage_metadata for m in messages if isinstance(m, AIMessage) and m.usage_metadata]
    return Usage(sum(c["input_tokens"] for c in counts), sum(c["output_tokens"] for c in counts))


def _sum(one: Usage, other: Usage) -> Usage:
    return Usage(one.input_tokens + other.input_tokens, one.output_tokens + other.output_tokens)


def trace(run: Run, messages: list[AnyMessage]) -> dict[str, Any]:
    """What the turn's page tells: what the model saw, asked for and cost. Read from the state, so that a run which
    was interrupted tells all of it."""
    steps = messages[len(prompt.conversation(run.request)) :]
    answers = [message for message in steps if isinstance(message, AIMessage)]
    known = [message.response_metadata for message in answers]
    left_out = max((int(one.get("history_left_out", 0)) for one in known), default=run.left_out)
    return {
        "agent": run.agent,
        "agent_version": run.agent_version,
        "model": run.model_name,
        "prompt": [
            {"role": "system", "content": run.instructions},
            *map(_as_json, asking.shown(run.request, left_out)),
        ],
        "history_left_out": left_out,
        "without_tools": bool(run.offers) and not compatible.supports(run.model_name, "tools"),
        "steps": [_as_json(message) for message in steps],
        "tool_calls": _calls(run.request, steps),
        "model_calls": [
            {**{key: one[key] for key in CALL_FIELDS if key in one}, **(message.usage_metadata or {})}
            for message, one in zip(answers, known, strict=True)
        ],
        "finish_reason": known[-1].get("finish_reason") if known else None,
        "usage_estimated": any(one.get("usage_estimated") for one in known),
        "asked_now": run.model_calls,
        "ms": round(1000 * (time.monotonic() - run.begun)),
    }


def _calls(request: Request, steps: list[AnyMessage]) -> list[dict[str, Any]]:
    if not any(isinstance(message, AIMessage) and message.tool_calls for message in steps):
        return []
    fields = ("number", "tool", "arguments", "status", "result", "milliseconds")
    return list(ToolCall.objects.filter(turn_id=request.turn_id).order_by("number").values(*fields))


def _as_json(message: AnyMessage) -> dict[str, Any]:
    match message:
        case AIMessage():
            said: dict[str, Any] = {"role": "assistant", "content": message.text}
            if message.tool_calls:
                said["tool_calls"] = [{"name": c["name"], "arguments": c["args"]} for c in message.tool_calls]
            if reasoning := message.response_metadata.get("reasoning"):
                said["reasoning"] = reasoning
            return said
        case ToolMessage():
            return {"role": "tool", "content": message.text, "name": message.name}
        case _:
            return {"role": "user", "content": message.text}


# --- what is run ---


class _Tools(tuple[tuple[str, str, str], ...]):
    """Name, description and schema of what the model is offered: all the graph depends on, so one graph serves many."""

    @classmethod
    def of(cls, run: Run) -> _Tools:
        return cls((name, o.description, json.dumps(o.schema, sort_keys=True)) for name, o in run.offers.items())


@lru_cache(maxsize=64)
def _compiled(tools: _Tools, saver: PostgresSaver) -> Any:
    return create_agent(
        ScriptedModel(),  # each run brings its own
        [
            StructuredTool(name=name, description=description, args_schema=json.loads(schema), func=_never)
            for name, description, schema in tools
        ],
        middleware=[Guard()],
        state_schema=TurnState,
        context_schema=Run,
        checkpointer=saver,
    )


def _graph(tools: _Tools) -> Any:
    """Compiled once per set of tools: that takes longer than a whole turn otherwise does."""
    return _compiled(tools, checkpoints.saver())


def plain() -> Any:
    """The graph without any tool, to look at threads and to mend them."""
    return _graph(_Tools())


def _never(**_arguments: Any) -> str:
    raise AssertionError("Tools are called by agents.calls.")


def _model(request: Request, speaking: Speaking) -> BaseChatModel:
    config = speaking.config
    name = model_name(config)
    if name != SCRIPTED:
        return compatible.from_settings(name)
    if settings.PRODUCTION and config.model != SCRIPTED:
        logger.warning("model.scripted_instead", agent=speaking.agent.name, model=config.model)
    burst = tuple(request.burst)
    language = "ru" if language_of(burst) == "ru" else config.language
    return ScriptedModel(
        script=Script(language, config.questions, config.greeting, request.interview_step, request.late, burst)
    )


def _digest(run: Run) -> str:
    """What the turn is about: a run over anything else starts anew."""
    asked = [[said.role, said.content] for said in prompt.conversation(run.request)]
    about = [run.agent, run.agent_version, run.model_name, run.instructions, asked]
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()


def _calls_before(request: Request) -> int:
    """The calls of earlier runs of this turn keep their numbers. One runner at a time: the lease sees to it."""
    if request.first_run:
        return 0
    most = ToolCall.objects.filter(turn_id=request.turn_id).aggregate(most=Max("number"))["most"]
    return int(most or 0)
