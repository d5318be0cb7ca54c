"""Servers that count, refuse, number calls and reason in their own ways: each turn ends with an answer or a reason."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from agents import runtime
from agents.errors import AgentBrokenError, AgentError, OutOfTimeError, UnacceptableInputError
from agents.llm import compatible
from agents.llm.phrases import phrase
from agents.models import ToolCall
from agents.outcomes import Refused, Replied, Usage
from tests.answering import an_agent, asked
from tests.conversing import conversation, quiet, replies, say
from tests.fake_model_server import Ask, Events, Hang, Say, Server, Status, model_server

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("ignore:Pydantic serializer warnings"),  # the client's, where types are not as declared
]
HISTORY = [("user" if n % 2 else "assistant", f"message {n} of the past") for n in range(40)]


@pytest.fixture
def server(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(compatible, "_unsupported", set())
    with model_server() as fake:
        settings.OPENAI_API_KEY, settings.OPENAI_BASE_URL, settings.LLM_MODEL = "key", fake.url, "fake"
        yield fake


def delta(finish: str | None = None, usage: Any = None, **fields: Any) -> dict[str, Any]:
    frame: dict[str, Any] = {"choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}
    return frame if usage is None else {**frame, "usage": usage}


def counted(read: Any, wrote: Any) -> dict[str, Any]:
    return {"prompt_tokens": read, "completion_tokens": wrote}


def text_of(ask: Ask) -> str:
    return "\n".join(str(message["content"]) for message in ask["messages"])


def refusal(message: str, *, status: int = 400, code: Any = None, kind: str = "invalid_request_error") -> Status:
    return Status(status, body=json.dumps({"error": {"message": message, "type": kind, "code": code}}))


# --- a history the server does not take ---
CONTEXT_REFUSALS = [
    refusal("This model's maximum context length is 420 tokens.", code="context_length_exceeded"),
    refusal("This model's maximum context length is 4096 tokens. However, you requested 5000 tokens."),
    refusal("the request exceeds the available context size", code=400, kind="exceed_context_size_error"),
    refusal("prompt is too long: 210000 tokens > 200000 maximum"),
    refusal("The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."),
    refusal("Prompt contains 40000 tokens, too large for model with 32768 maximum context length", status=422),
    refusal("Please reduce the length of the messages or completion."),
    refusal("Payload Too Large", status=413),
    refusal("Request too large for m on tokens per min (TPM): Limit 30000", status=429, code="rate_limit_exceeded"),
]


@pytest.mark.parametrize("refused", CONTEXT_REFUSALS)
def test_a_history_longer_than_the_context_is_cut_until_it_fits(server: Server, refused: Status) -> None:
    server.script = lambda ask: refused if text_of(ask).count("of the past") > 6 else Say("Hello again")
    outcome = runtime.run(asked(an_agent(model="default"), "hello", history=HISTORY))
    assert isinstance(outcome, Replied)
    assert outcome.text == "Hello again"
    sent = text_of(server.asked[-1])
    assert "message 39 of the past" in sent
    assert "message 0 of the past" not in sent
    assert outcome.trace["prompt"] == server.asked[-1]["messages"]
    assert outcome.trace["history_left_out"] == 40 - sent.count("of the past")


@pytest.mark.parametrize("refused", [CONTEXT_REFUSALS[0], CONTEXT_REFUSALS[3]])
def test_a_burst_longer_than_the_context_is_unacceptable(server: Server, refused: Status) -> None:
    server.script = [refused]
    with pytest.raises(UnacceptableInputError):
        runtime.run(asked(an_agent(model="default"), "hello", history=HISTORY))
    assert "of the past" not in text_of(server.asked[-1])
    assert len(server.asked) < 10


AZURE = refusal(
    "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
    code="content_filter",
)


def test_a_history_that_the_filter_refuses_is_left_out(server: Server) -> None:
    server.script = lambda ask: AZURE if "forbidden" in text_of(ask) else Say("Hello again")
    outcome = runtime.run(asked(an_agent(model="default"), "hello again", history=[("user", "forbidden"), *HISTORY]))
    assert isinstance(outcome, Replied)
    assert len(server.asked) == 2
    assert outcome.trace["history_left_out"] == 41


def test_a_burst_that_the_filter_refuses_is_unacceptable(server: Server) -> None:
    server.script = lambda ask: AZURE if "forbidden" in text_of(ask) else Say("Hello")
    with pytest.raises(UnacceptableInputError):
        runtime.run(asked(an_agent(model="default"), "forbidden", history=HISTORY))


def test_the_prompt_is_within_the_budget_of_tokens(server: Server) -> None:
    history = [("user" if n % 2 else "assistant", f"{n} " + "много слов и words " * 300) for n in range(50)]
    agent = an_agent(model="default", tools=["now"], budgets={"tokens": 9_000})
    outcome = runtime.run(asked(agent, "hello", history=history))
    assert isinstance(outcome, Replied)
    sent = json.dumps(server.asked[0], ensure_ascii=False)
    assert len(sent.encode()) / 4 < 9_000
    assert text_of(server.asked[0]).endswith("hello")
    assert 40 < outcome.trace["history_left_out"] < 50


def test_a_burst_above_the_budget_is_not_sent(server: Server) -> None:
    outcome = runtime.run(asked(an_agent(model="default", budgets={"tokens": 500}), "word " * 5_000))
    assert isinstance(outcome, Refused)
    assert "500 tokens" in outcome.reason
    assert not server.asked


# --- answers that are not whole ---


def test_an_answer_cut_by_length_is_marked_and_moves_no_interview_on(server: Server) -> None:
    server.script = [Say("Once upon a", finish="length")]
    outcome = runtime.run(asked(an_agent(model="default"), "tell me"))
    assert isinstance(outcome, Replied)
    assert outcome.text == f"Once upon a …\n\n{phrase('cut', 'en')}"
    assert outcome.trace["finish_reason"] == "length"
    interview = an_agent(model="default", kind="interview", questions=["Who?"])
    outcome = runtime.run(asked(interview, "hello"))
    assert isinstance(outcome, Replied)
    assert outcome.next_step is None


@pytest.mark.parametrize("text", ["I can tell you how", ""])
def test_half_an_answer_cut_by_the_filter_is_not_sent(server: Server, text: str) -> None:
    server.script = [Say(text, finish="content_filter")]
    outcome = runtime.run(asked(an_agent(model="default", on_failure="Ask me something else."), "tell me"))
    assert isinstance(outcome, Refused)
    assert outcome.text == "Ask me something else."
    assert outcome.usage == Usage(10, 10)
    assert outcome.trace["finish_reason"] == "content_filter"
    assert len(server.asked) == 1


def test_nothing_said_before_the_limit_of_length_is_an_outcome(server: Server) -> None:
    server.script = [Say("", finish="length", tokens=500)]
    outcome = runtime.run(asked(an_agent(model="default"), "tell me"))
    assert isinstance(outcome, Refused)
    assert outcome.text == phrase("sorry", "en")
    assert outcome.usage == Usage(500, 500)


def test_a_refusal_of_the_model_is_the_answer(server: Server) -> None:
    server.script = [
        Events((delta(refusal="I can't help "), delta(refusal="with that."), delta("stop", counted(30, 5))))
    ]
    outcome = runtime.run(asked(an_agent(model="default"), "tell me"))
    assert isinstance(outcome, Refused)
    assert outcome.text == "I can't help with that."
    assert outcome.usage == Usage(30, 5)


def test_an_answer_has_no_blanks_around_it(server: Server) -> None:
    server.script = [Say("\n\n Hello \n")]
    outcome = runtime.run(asked(an_agent(model="default"), "hi"))
    assert isinstance(outcome, Replied)
    assert outcome.text == "Hello"


# --- what it cost ---


def test_cumulative_usage_is_not_added_up(server: Server) -> None:
    frames = [delta(content=word, usage=counted(100, n)) for n, word in enumerate(("a ", "b ", "c"), 1)]
    server.script = [Events((*frames, delta("stop", counted(100, 3))))]
    assert runtime.run(asked(an_agent(model="default"), "hi")).usage == Usage(100, 3)


@pytest.mark.parametrize(
    "usage", [counted(99_999_999_999, 5), counted(-5, 5), counted("7", 5), counted(None, 5), counted(0, 0), [1], "many"]
)
def test_counts_that_cannot_be_are_estimated(server: Server, usage: Any) -> None:
    server.script = [Events((delta(content="Hello"), delta("stop", usage)))]
    outcome = runtime.run(asked(an_agent(model="default"), "hi"))
    assert outcome.trace["usage_estimated"] is True
    assert 0 < outcome.usage.input_tokens < 1000


def test_an_estimate_counts_instructions_and_tools(server: Server) -> None:
    server.script = [Say("Hello", tokens=None)]
    agent = an_agent(model="default", tools=["now"], system_prompt="Be kind. " * 40)
    outcome = runtime.run(asked(agent, "hi"))
    sent = server.asked[0]
    assert outcome.usage.input_tokens >= len(json.dumps([sent["messages"], sent["tools"]])) / 4 * 0.8
    assert outcome.trace["usage_estimated"] is True


def test_a_counted_answer_is_not_marked_as_an_estimate(server: Server) -> None:
    assert runtime.run(asked(an_agent(model="default"), "hi")).trace["usage_estimated"] is False


def test_an_empty_answer_carries_its_cost(server: Server) -> None:
    server.script = [Events((delta("stop", counted(1000, 500)),))]
    with pytest.raises(AgentError) as raised:
        runtime.run(asked(an_agent(model="default"), "hi"))
    assert raised.value.usage == Usage(1000, 500)
    assert not raised.value.permanent


def test_an_answer_cut_off_carries_an_estimate(server: Server) -> None:
    server.script = [Events((delta(content="I was about to"),))]
    with pytest.raises(AgentError) as raised:
        runtime.run(asked(an_agent(model="default"), "hi"))
    assert raised.value.usage.input_tokens > 0


def test_a_permanent_failure_carries_the_calls_before_it(server: Server) -> None:
    server.script = [Say(calls=(("now", {}),), tokens=70), Status(401)]
    with pytest.raises(AgentBrokenError) as raised:
        runtime.run(asked(an_agent(model="default", tools=["now"]), "what time is it?"))
    assert raised.value.usage == Usage(70, 70)


def test_the_last_attempt_carries_the_calls_before_it(server: Server) -> None:
    agent = an_agent(model="default", tools=["now"])
    for last, cost in ((False, Usage()), (True, Usage(70, 70))):
        server.script = [Say(calls=(("now", {}),), tokens=70), Status(503)]
        with pytest.raises(AgentError) as raised:
            runtime.run(asked(agent, "what time is it?", last_run=last))
        assert raised.value.usage == cost


def test_a_server_that_said_nothing_cost_nothing(server: Server, settings: Any) -> None:
    settings.LLM_TIMEOUT = 0.5
    server.script = [Hang()]
    with pytest.raises(OutOfTimeError) as raised:
        runtime.run(asked(an_agent(model="default"), "hi"))
    assert raised.value.usage == Usage()


# --- calls of tools ---


def whole_call(id_: str | None, arguments: Any, **index: int) -> dict[str, Any]:
    function = {"name": "now", "arguments": arguments}
    return {**index, "id": id_, "type": "function", "function": function}


TOKYO = '{"time_zone": "Asia/Tokyo"}'
PARALLEL = {
    "one index, own ids": [[whole_call("a", "{}", index=0)], [whole_call("b", TOKYO, index=0)]],
    "one index, no ids": [[whole_call("", "{}", index=0)], [whole_call("", TOKYO, index=0)]],
    "one index, one chunk": [[whole_call("a", "{}", index=0), whole_call("b", TOKYO, index=0)]],
    "no index": [[whole_call("a", "{}"), whole_call("b", TOKYO)]],
    "no index, no ids": [[whole_call("", "{}")], [whole_call(None, TOKYO)]],
    "arguments as objects": [[whole_call("a", {}, index=0), whole_call("b", {"time_zone": "Asia/Tokyo"}, index=1)]],
    "arguments in pieces": [
        [whole_call("a", "", index=0), whole_call("b", "", index=1)],
        [{"index": 1, "function": {"arguments": TOKYO[:9]}}, {"index": 0, "function": {"arguments": "{}"}}],
        [{"index": 1, "function": {"arguments": TOKYO[9:]}}],
    ],
    "name repeated in each piece": [
        [whole_call("a", "{}", index=0)],
        [whole_call("b", TOKYO[:9], index=1)],
        [whole_call("b", TOKYO[9:], index=1)],
    ],
}


@pytest.mark.parametrize("chunks", PARALLEL.values(), ids=PARALLEL.keys())
def test_parallel_calls_are_told_apart(server: Server, chunks: list[list[dict[str, Any]]]) -> None:
    frames = [delta(tool_calls=calls) for calls in chunks]
    server.script = [Events((*frames, delta("tool_calls"))), Say("Done")]
    runtime.run(asked(an_agent(model="default", tools=["now"]), "what time is it?"))
    calls = list(ToolCall.objects.order_by("number").values_list("tool", "status", "arguments"))
    assert calls == [("now", "done", {}), ("now", "done", {"time_zone": "Asia/Tokyo"})]


# --- reasoning ---
THOUGHTS = {
    "whole": ("<think>He is rude.</think>Hello",),
    "in pieces": ("<", "thi", "nk>He is", " rude.</th", "ink", ">Hel", "lo"),
    "other name": ("<thinking>\nHe is rude.\n</thinking>\n\nHello",),
    "in the middle": ("Hel", "<think>He is rude.</think>", "lo"),
    "never opened": ("He is rude.</think>", "Hello"),
    "never closed": ("Hello", "<think>He is rude."),
}


@pytest.mark.parametrize("pieces", THOUGHTS.values(), ids=THOUGHTS.keys())
def test_reasoning_in_the_text_is_for_staff_only(server: Server, pieces: tuple[str, ...]) -> None:
    server.script = [Events((*(delta(content=piece) for piece in pieces), delta("stop")))]
    outcome = runtime.run(asked(an_agent(model="default"), "hi"))
    assert isinstance(outcome, Replied)
    assert outcome.text == "Hello"
    assert "He is rude." in outcome.trace["steps"][0]["reasoning"]


def test_drafts_show_no_reasoning(server: Server) -> None:
    pieces = ("<thi", "nk>He is", " rude.</th", "ink>", "Hel", "lo <", "3")
    server.script = [Events((*(delta(content=piece) for piece in pieces), delta("stop")))]
    drafts: list[str] = []
    outcome = runtime.run(asked(an_agent(model="default"), "hi", draft=drafts.append))
    assert isinstance(outcome, Replied)
    assert outcome.text == "Hello <3"
    assert drafts == ["Hel", "Hello ", "Hello <3"]


def test_reasoning_in_a_field_of_its_own_is_not_shown(server: Server) -> None:
    server.script = [Events((delta(reasoning_content="He is rude."), delta(content="Hello"), delta("stop")))]
    outcome = runtime.run(asked(an_agent(model="default"), "hi"))
    assert isinstance(outcome, Replied)
    assert outcome.text == "Hello"


# --- fields a server does not know ---


def test_a_server_without_stream_options_is_asked_without(server: Server) -> None:
    refused = refusal("Unrecognized request argument supplied: stream_options")
    server.script = lambda ask: refused if "stream_options" in ask else Say("Hello", tokens=None)
    agent = an_agent(model="default")
    for _ in range(2):
        outcome = runtime.run(asked(agent, "hi"))
        assert isinstance(outcome, Replied)
    assert len(server.asked) == 3, "asked for once in a process"


@pytest.mark.parametrize(
    "refused",
    [
        refusal("registry.ollama.ai/library/gemma:2b does not support tools"),
        refusal('"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'),
        refusal("No endpoints found that support tool use.", status=404),
        refusal("Unrecognized request argument supplied: tools"),
    ],
)
def test_a_server_without_tools_is_asked_without(server: Server, refused: Status) -> None:
    server.script = lambda ask: refused if "tools" in ask else Say("Hello")
    agent = an_agent(model="default", tools=["now"])
    for _ in range(2):
        outcome = runtime.run(asked(agent, "hi"))
        assert isinstance(outcome, Replied)
        assert outcome.trace["without_tools"] is True
    assert len(server.asked) == 3, "asked for once in a process"


def test_a_refused_schema_of_a_tool_does_not_switch_tools_off(server: Server) -> None:
    server.script = [refusal("Invalid 'tools[0].function.name': string does not match pattern.")]
    with pytest.raises(AgentBrokenError):
        runtime.run(asked(an_agent(model="default", tools=["now"]), "hi"))
    assert len(server.asked) == 1


# --- failures ---


def test_retry_after_may_be_a_date(server: Server) -> None:
    moment = datetime.now(UTC) + timedelta(seconds=100)
    server.script = [Status(429, (("retry-after", format_datetime(moment, usegmt=True)),))]
    with pytest.raises(AgentError) as raised:
        runtime.run(asked(an_agent(model="default"), "hi"))
    assert raised.value.retry_after is not None
    assert 60 < raised.value.retry_after <= 100


@pytest.mark.parametrize("as_event", [True, False])
@pytest.mark.parametrize(
    ("status", "permanent"), [(401, True), (402, True), (404, True), (409, False), (429, False), (500, False)]
)
def test_an_error_is_as_permanent_as_its_status(server: Server, status: int, permanent: bool, as_event: bool) -> None:
    error = {"message": "no", "type": "api_error", "code": status}
    server.script = [Events(({"error": error},)) if as_event else refusal("no", status=status)]
    with pytest.raises(AgentError) as raised:
        runtime.run(asked(an_agent(model="default"), "hi"))
    assert raised.value.permanent is permanent


@pytest.mark.parametrize(
    ("kind", "code", "permanent"),
    [
        ("invalid_request_error", "model_not_found", True),
        ("payment_required", None, True),
        ("api_error", "invalid_api_key", True),
        ("rate_limit_error", "rate_limit_exceeded", False),
        ("server_error", None, False),
    ],
)
def test_an_error_event_without_a_status_is_known_by_its_kind(
    server: Server, kind: str, code: str | None, permanent: bool
) -> None:
    server.script = [Events(({"error": {"message": "no", "type": kind, "code": code}},))]
    with pytest.raises(AgentError) as raised:
        runtime.run(asked(an_agent(model="default"), "hi"))
    assert raised.value.permanent is permanent


def test_a_conversation_goes_on_after_a_burst_that_the_filter_refuses(server: Server) -> None:
    server.script = lambda ask: AZURE if "forbidden" in text_of(ask) else Say("Hello again")
    id_ = conversation(agent_id=an_agent(model="default").pk)
    say(id_, "something forbidden")
    quiet()
    say(id_, "hello again")
    quiet()
    assert replies(id_)[-1] == "Hello again"
    assert "forbidden" not in text_of(server.asked[-1])
    assert len(server.asked) == 2
