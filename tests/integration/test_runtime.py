"""The runtime with the built-in model: interviews, recalling, traces, and going on where a run was interrupted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import pytest

from agents import checkpoints, prompt, runtime
from agents.config import parse
from agents.models import CallStatus, ToolCall
from agents.outcomes import Replied
from agents.tools import Call, recall
from agents.tools.recall import Hit
from tests.answering import an_agent, asked

pytestmark = pytest.mark.django_db(transaction=True)
QUESTIONS = ["Where do you live?", "Why did you move?"]


def talk(agent: Any, *bursts: list[str]) -> list[str]:
    """A whole interview, as the conversation would keep it."""
    history: list[tuple[str, str]] = []
    step = 0
    for burst in bursts:
        outcome = runtime.run(asked(agent, *burst, history=history, interview_step=step))
        assert isinstance(outcome, Replied)
        history += [*(("user", text) for text in burst), ("assistant", outcome.text)]
        step = step if outcome.next_step is None else outcome.next_step
    return [text for role, text in history if role == "assistant"]


def test_an_interview_walks_its_questions_and_sums_up() -> None:
    agent = an_agent(kind="interview", questions=QUESTIONS, greeting="Welcome.")
    assert talk(agent, ["hi"], ["In Oslo", "near the port"], ["For work"], ["bye"]) == [
        "Welcome. Where do you live?",
        "Thank you, I have read all 2 messages. Why did you move?",
        "That was my last question. This is what I have understood:\n"
        "1. Where do you live? – In Oslo near the port\n2. Why did you move? – For work\nThank you for your time!",
        "Our interview is complete, and I have added this to it. Thank you!",
    ]


def test_an_opening_burst_that_tells_something_is_the_first_answer() -> None:
    agent = an_agent(kind="interview", questions=QUESTIONS, greeting="Welcome.")
    first, end = talk(agent, ["so", "I live in Oslo", "near the port"], ["For work"])
    assert first == "Welcome. Thank you, I have read all 3 messages. Why did you move?"
    assert "1. Where do you live? – so I live in Oslo near the port\n2. Why did you move? – For work\n" in end


def test_an_opening_burst_can_answer_an_interview_of_one_question() -> None:
    agent = an_agent(kind="interview", questions=QUESTIONS[:1], greeting="Welcome.")
    [end] = talk(agent, ["I live in Oslo near the port"])
    assert end.startswith("Welcome. That was my last question.")


def test_a_model_says_by_a_marker_that_the_opening_burst_was_an_answer() -> None:
    config = parse({"kind": "interview", "questions": list(QUESTIONS)})
    for step, text, shown in (
        (0, "[ANSWERED] Welcome. Why did you move?", ("Welcome. Why did you move?", 2)),
        (0, "Welcome. Where do you live?", ("Welcome. Where do you live?", 1)),
        (1, "[AGAIN] Where?", ("Where?", None)),
        (1, "[ANSWERED] Why?", ("Why?", 2)),
    ):
        assert prompt.concluded(config, asked(None, "x", interview_step=step), text) == shown
    assert [prompt.unmarked(text) for text in ("[", "[ANS", "[ANSWERED]", "[ANSWERED] Hi", "Hi [")] == [
        "", "", "", "Hi", "Hi ["
    ]  # fmt: skip


@pytest.mark.parametrize(
    "burst",
    [["hi"], ["Hello there!", "..."], ["so", "hm"], ["Good evening", "what is this all about?"], ["Привет", "начнём"]],
)
def test_a_greeting_is_no_answer(burst: list[str]) -> None:
    agent = an_agent(kind="interview", questions=QUESTIONS[:1], greeting="Welcome.")
    first, end = talk(agent, burst, ["In Oslo"])
    assert first == f"Welcome. {QUESTIONS[0]}"
    assert "Where do you live? – In Oslo\n" in end


def test_what_was_told_to_another_agent_before_is_no_answer() -> None:
    agent = an_agent(kind="interview", questions=QUESTIONS[:1])
    history = [
        ("user", "my cat sleeps all day long"),
        ("assistant", "I see."),
        ("user", "hello"),
        ("assistant", QUESTIONS[0]),
    ]
    outcome = runtime.run(asked(agent, "In Oslo", history=history, interview_step=1))
    assert isinstance(outcome, Replied)
    assert "Where do you live? – In Oslo\n" in outcome.text


@pytest.mark.parametrize("evasion", ["...", "idk", "I don't know", "не знаю", "?!", "Pass."])
def test_an_evasive_answer_is_asked_again_once(evasion: str) -> None:
    agent = an_agent(kind="interview", questions=QUESTIONS)
    first, again, on = talk(agent, ["hi"], [evasion], [evasion])
    assert first.endswith(QUESTIONS[0])
    assert again.endswith(QUESTIONS[0])
    assert "AGAIN" not in again
    assert on.endswith(QUESTIONS[1])


def test_an_interview_speaks_the_language_of_the_person() -> None:
    agent = an_agent(kind="interview", questions=["Где вы живёте?"], language="ru")
    assert talk(agent, ["привет"])[0] == "Здравствуйте! Где вы живёте?"


def test_a_late_answer_is_thanked_for_and_moves_nothing() -> None:
    agent = an_agent(kind="interview", questions=QUESTIONS)
    outcome = runtime.run(asked(agent, "also a dog", interview_step=1, late=True))
    assert isinstance(outcome, Replied)
    assert (outcome.text, outcome.next_step) == ("Thank you, I have added that to your earlier answer.", None)


@pytest.fixture
def memory() -> Iterator[list[Call]]:
    calls: list[Call] = []

    def look(call: Call, query: str, most: int) -> list[Hit]:
        calls.append(call)
        return [Hit(f"about {query}", "2026-01-02T03:04:05", "m1")][:most]

    with patch.dict(recall.SOURCES, {"test": look}, clear=True):
        yield calls


def test_a_chat_answers_from_what_the_person_said_with_references(memory: list[Call]) -> None:
    outcome = runtime.run(asked(an_agent(tools=["recall"]), "my flat", user_id=42))
    assert isinstance(outcome, Replied)
    assert outcome.text == "This is what you told me about it:\n[1] 2026-01-02: about my flat"
    assert [call.user_id for call in memory] == [42]
    (call,) = outcome.trace["tool_calls"]
    assert (call["tool"], call["arguments"], call["status"]) == ("recall", {"query": "my flat"}, "done")
    assert "about my flat" in call["result"]
    assert call["milliseconds"] >= 0
    assert [step["role"] for step in outcome.trace["steps"]] == ["assistant", "tool", "assistant"]


def test_the_same_turn_run_again_asks_nothing_and_does_nothing_again(memory: list[Call]) -> None:
    request = asked(an_agent(tools=["recall"]), "my flat")
    first, second = runtime.run(request), runtime.run(request)
    assert isinstance(first, Replied)
    assert isinstance(second, Replied)
    assert (first.text, first.usage) == (second.text, second.usage)
    assert (first.trace["asked_now"], second.trace["asked_now"]) == (2, 0)
    assert second.trace["steps"] == first.trace["steps"]
    assert len(memory) == 1


def test_a_turn_whose_input_changed_starts_anew_and_repeats_no_effect(memory: list[Call]) -> None:
    agent, turn = an_agent(tools=["recall"]), uuid4()
    runtime.run(asked(agent, "my flat", turn_id=turn))
    outcome = runtime.run(asked(agent, "my flat", turn_id=turn, history=[("user", "hello")]))
    assert outcome.trace["asked_now"] == 2
    assert len(memory) == 1, "the same call of the same turn"
    runtime.run(asked(agent, "my house", turn_id=turn))
    assert len(memory) == 2
    assert list(ToolCall.objects.order_by("number").values_list("number", flat=True)) == [1, 2]


def test_a_crash_between_the_tool_and_its_checkpoint_repeats_no_effect(memory: list[Call]) -> None:
    request = asked(an_agent(tools=["recall"]), "my flat")
    crash = patch("agents.guard.crash_point", side_effect=lambda name: 1 / 0 if name == "after_tool" else None)
    with crash, pytest.raises(ZeroDivisionError):
        runtime.run(request)
    outcome = runtime.run(request)
    assert isinstance(outcome, Replied)
    assert (len(memory), outcome.trace["asked_now"]) == (1, 1)


def test_a_thread_whose_tool_never_answered_goes_on() -> None:
    """What others must repair by hand: a call is checkpointed, its result is not."""
    agent = an_agent(tools=["recall"])
    with patch.dict(recall.SOURCES, {"test": lambda *_args: []}, clear=True):
        with patch("agents.calls.perform", side_effect=MemoryError), pytest.raises(MemoryError):
            runtime.run(request := asked(agent, "my flat"))
        state = checkpoints.state(str(request.turn_id))
        assert state
        assert state.checkpoint["channel_values"]["messages"][-1].tool_calls
        outcome = runtime.run(request)
    assert isinstance(outcome, Replied)
    assert outcome.text.startswith("I found nothing")
    assert ToolCall.objects.get().status == CallStatus.DONE


@dataclass
class Gadget:
    """Neither a message nor a plain value."""

    x: int = 1


def test_checkpoints_hold_data_and_nothing_to_import() -> None:
    serde = checkpoints.saver().serde
    assert not isinstance(serde.loads_typed(serde.dumps_typed(Gadget())), Gadget)
