"""What every model behind an agent must do, proven on the built-in one and on a compatible server alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import StructuredTool

from agents.llm import compatible
from agents.llm.scripted import Script, ScriptedModel
from tests.fake_model_server import Say, model_server

RECALL = StructuredTool(
    name="recall",
    description="Finds.",
    args_schema={"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
    func=lambda query: query,
)
TALK = [SystemMessage("Be kind."), HumanMessage("Where do I live?")]
ANSWERED = [
    *TALK,
    AIMessage("", tool_calls=[{"name": "recall", "args": {"query": "live"}, "id": "call_1"}]),
    ToolMessage(
        '{"hits": [{"text": "I live in Oslo", "when": "2026-01-02", "reference": "1"}]}', tool_call_id="call_1"
    ),
]


def behave(ask: dict[str, Any]) -> Say:
    """The server does what the built-in model does: look up, then answer from what was found."""
    if ask["messages"][-1]["role"] == "tool":
        return Say("You live in Oslo")
    return Say(calls=(("recall", {"query": "live"}),)) if ask.get("tools") else Say("I do not know")


@pytest.fixture(params=["scripted", "compatible"])
def model(request: pytest.FixtureRequest) -> Iterator[Callable[[], BaseChatModel]]:
    if request.param == "scripted":
        yield lambda: ScriptedModel(script=Script("en", burst=("Where do I live?",)))
        return
    with model_server() as server:
        server.script = behave
        yield lambda: compatible.chat_model("fake", server.url, "key", 10)


def test_answers_with_text_and_says_that_it_is_done(model: Callable[[], BaseChatModel]) -> None:
    answer = model().invoke(TALK)
    assert isinstance(answer, AIMessage)
    assert answer.text.strip()
    assert answer.response_metadata["finish_reason"] == "stop"
    assert not answer.tool_calls


def test_counts_what_it_cost(model: Callable[[], BaseChatModel]) -> None:
    usage = model().invoke(TALK).usage_metadata
    assert usage
    assert usage["input_tokens"] > 0
    assert usage["output_tokens"] > 0
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


def test_asks_for_a_tool_with_arguments_that_fit_its_schema(model: Callable[[], BaseChatModel]) -> None:
    answer = model().bind_tools([RECALL]).invoke(TALK)
    (call,) = answer.tool_calls
    assert call["name"] == "recall"
    assert set(call["args"]) == {"query"}
    assert isinstance(call["args"]["query"], str)
    assert call["id"]


def test_answers_from_the_result_of_a_tool(model: Callable[[], BaseChatModel]) -> None:
    assert "Oslo" in model().bind_tools([RECALL]).invoke(ANSWERED).text


def test_offers_no_call_of_a_tool_it_was_not_given(model: Callable[[], BaseChatModel]) -> None:
    assert not model().invoke(TALK).tool_calls


def test_says_the_same_to_the_same(model: Callable[[], BaseChatModel]) -> None:
    assert model().invoke(TALK).text == model().invoke(TALK).text
