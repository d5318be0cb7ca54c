"""A model's server may hang, lie, break off or ask for the impossible: each turn ends well."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from agents import runtime
from agents.errors import AgentBrokenError, AgentError, NotOursError, OutOfTimeError
from agents.models import CallStatus, ToolCall
from agents.outcomes import Refused, Replied
from tests.answering import an_agent, asked
from tests.fake_model_server import Cut, Garbage, Hang, Say, Server, Status, model_server
from tests.patience import granted

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def server(settings: Any) -> Iterator[Server]:
    with model_server() as fake:
        settings.OPENAI_API_KEY, settings.OPENAI_BASE_URL, settings.LLM_MODEL = "key", fake.url, "fake"
        yield fake


def test_answers_through_a_compatible_server(server: Server) -> None:
    server.script = [Say("Hello to you")]
    outcome = runtime.run(asked(an_agent(model="default", system_prompt="Be kind."), "hi", "there"))
    assert isinstance(outcome, Replied)
    assert outcome.text.strip() == "Hello to you"
    assert (outcome.usage.input_tokens, outcome.usage.output_tokens) == (10, 10)
    assert outcome.trace["agent_version"] == 1
    (sent,) = server.asked
    assert sent["model"] == "fake"
    assert [message["role"] for message in sent["messages"]] == ["system", "user"]
    assert sent["messages"][0]["content"].startswith("Be kind.")
    assert sent["messages"] == outcome.trace["prompt"]


def test_without_a_key_the_built_in_model_answers(server: Server, settings: Any) -> None:
    settings.OPENAI_API_KEY = settings.OPENAI_BASE_URL = ""
    outcome = runtime.run(asked(an_agent(model="default"), "hi"))
    assert outcome.trace["model"] == "scripted"
    assert not server.asked


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Status(500), AgentError),
        (Status(503), AgentError),
        (Status(429), AgentError),
        (Status(401), AgentBrokenError),
        (Status(404), AgentBrokenError),
        (Status(400), AgentBrokenError),
        (Status(429, body='{"error": {"message": "no", "code": "insufficient_quota"}}'), AgentBrokenError),
        (Status(200, body="{}"), AgentError),
        (Garbage(), AgentError),
        (Garbage(b"data: {broken\n\n", "text/event-stream"), AgentError),
        (Garbage(b"\xff\xfe\x00", "text/event-stream"), AgentError),
        (Garbage(b"", "text/event-stream"), AgentError),
        (Garbage(b"data: [DONE]\n\n", "text/event-stream"), AgentError),
        (Cut(), AgentError),
        (Cut(cleanly=False), AgentError),
        (Say(""), AgentError),
        (Say("  \u00a0 "), AgentError),
    ],
)
def test_a_fault_is_an_agent_error_of_the_right_kind(server: Server, answer: Any, error: type[AgentError]) -> None:
    server.script = [answer]
    request = asked(an_agent(model="default"), "hi")
    with pytest.raises(AgentError) as raised:
        runtime.run(request)
    assert raised.value.permanent is error.permanent
    assert len(server.asked) == 1, "attempts are the turn's business"
    server.script = [Say("Better now")]
    outcome = runtime.run(request)  # the next attempt asks again, and is not held up by what happened
    assert isinstance(outcome, Replied)
    assert outcome.text.strip() == "Better now"


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), ("100000", 300.0), ("soon", None), ("-5", 0.0)])
def test_retry_after_is_passed_on(server: Server, header: str, seconds: float | None) -> None:
    server.script = [Status(429, (("retry-after", header),))]
    with pytest.raises(AgentError) as raised:
        runtime.run(asked(an_agent(model="default"), "hi"))
    assert raised.value.retry_after == seconds


@pytest.mark.parametrize("trickle", [False, True])
def test_a_server_that_hangs_is_left(server: Server, settings: Any, trickle: bool) -> None:
    settings.LLM_TIMEOUT = 0.5
    server.script = [Hang(trickle)]
    begun = time.monotonic()
    with pytest.raises(OutOfTimeError):
        runtime.run(asked(an_agent(model="default"), "hi"))
    assert time.monotonic() - begun < granted(30), "and not after the minutes a socket may take"


def test_a_runner_that_lost_its_turn_stops_asking(server: Server) -> None:
    server.script = [Hang()]
    with pytest.raises(NotOursError):
        runtime.run(asked(an_agent(model="default"), "hi", still_ours=lambda: not server.asked))


def test_calls_that_are_not_json_are_told_so_and_cost_one_call(server: Server) -> None:
    server.script = [Say(calls=(("now", '{"time_zone": '),)), Say("It is late")]
    outcome = runtime.run(asked(an_agent(model="default", tools=["now"]), "what time is it?"))
    assert isinstance(outcome, Replied)
    assert outcome.text.strip() == "It is late"
    assert ToolCall.objects.get().status == CallStatus.FAILED
    assert "not JSON" in server.asked[1]["messages"][-1]["content"]


@pytest.mark.parametrize("call_id", [None, "same", ""])
def test_calls_are_numbered_whatever_ids_a_model_gives_them(server: Server, call_id: str | None) -> None:
    two = (("now", {}), ("now", {"time_zone": "Asia/Tokyo"}))
    server.script = [Say(calls=two, call_id=call_id), Say(calls=two[:1], call_id=call_id), Say("Done")]
    runtime.run(asked(an_agent(model="default", tools=["now"]), "what time is it?"))
    assert list(ToolCall.objects.order_by("number").values_list("number", "status")) == [
        (1, "done"),
        (2, "done"),
        (3, "done"),
    ]
    answers = [message for message in server.asked[2]["messages"] if message["role"] == "tool"]
    assert len({message["tool_call_id"] for message in answers}) == 3


def test_two_hundred_calls_in_a_loop_end_at_the_budget(server: Server) -> None:
    server.script = [Say(calls=(("now", {}),))]
    agent = an_agent(model="default", tools=["now"], budgets={"tool_calls": 5, "tokens": 100_000})
    outcome = runtime.run(asked(agent, "loop"))
    assert isinstance(outcome, Refused)
    assert "5 tool calls" in outcome.reason
    assert ToolCall.objects.filter(status=CallStatus.DONE).count() == 5
    assert len(server.asked) <= 5 + 2
    assert "tools" not in server.asked[-1], "the last question offers no tools"


def test_two_hundred_calls_at_once_end_at_the_budget(server: Server) -> None:
    server.script = [Say(calls=(("now", {}),) * 200), Say("Enough")]
    agent = an_agent(model="default", tools=["now"], budgets={"tool_calls": 5, "tokens": 100_000})
    outcome = runtime.run(asked(agent, "loop"))
    assert isinstance(outcome, Replied)
    assert ToolCall.objects.filter(status=CallStatus.DONE).count() == 5
    assert ToolCall.objects.filter(status=CallStatus.REFUSED).count() == 195


def test_the_budget_of_tokens_is_never_exceeded_by_more_than_one_call(server: Server) -> None:
    server.script = [Say(calls=(("now", {}),), tokens=50)]
    agent = an_agent(model="default", tools=["now"], budgets={"tool_calls": 50, "tokens": 250})
    outcome = runtime.run(asked(agent, "loop"))
    assert isinstance(outcome, Refused)
    assert 250 <= outcome.usage.input_tokens + outcome.usage.output_tokens < 250 + 100


def test_a_server_that_does_not_count_is_counted_for(server: Server) -> None:
    server.script = [Say(calls=(("now", {}),), tokens=None)]
    agent = an_agent(model="default", tools=["now"], budgets={"tool_calls": 50, "tokens": 100})
    outcome = runtime.run(asked(agent, "loop"))
    assert isinstance(outcome, Refused)
    assert "100 tokens" in outcome.reason


def test_what_cannot_be_stored_is_replaced(server: Server) -> None:
    server.script = [Say("nul\x00 and half \ud83d", calls=(("now", {"time_zone": "a\x00b\udc00"}),)), Say("\x00!")]
    outcome = runtime.run(asked(an_agent(model="default", tools=["now"]), "hi"))
    assert isinstance(outcome, Replied)
    assert outcome.text.strip() == "\ufffd!"
    assert ToolCall.objects.get().arguments == {"time_zone": "a\ufffdb\ufffd"}


def test_a_draft_grows_while_the_model_writes(server: Server) -> None:
    server.script = [Say("one two three")]
    drafts: list[str] = []
    runtime.run(asked(an_agent(model="default"), "hi", draft=drafts.append))
    assert drafts == ["one ", "one two ", "one two three "]
