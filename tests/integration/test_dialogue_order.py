"""A prompt shows the dialogue in its order: a burst, its reply, the next burst, whatever the indexes are."""

from __future__ import annotations

from itertools import count
from unittest.mock import patch
from uuid import UUID

import pytest
from django.db import transaction
from django.test import override_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.errors import AgentBrokenError, AgentError, UnacceptableInputError
from agents.outcomes import Replied, Usage
from agents.request import Request
from config.queue import run_due
from conversations import answering, dialogue, log, takeover
from conversations.models import Message, MessageFate, Turn, TurnStatus
from tests.answering import an_agent
from tests.conversing import agent, conversation, quiet, replies, say
from tests.time_travel import let_pass

pytestmark = pytest.mark.django_db


def shown(request: Request) -> list[str]:
    """Dialogue as the model is shown it, one entry a message, the replies marked."""
    history = [f"> {said.content}" if said.role == "assistant" else said.content for said in request.history]
    return [*history, *request.burst]


def open_part(request: Request) -> list[str]:
    """What stands after the last reply: what the model takes for unanswered."""
    lines = shown(request)
    last = max((number for number, line in enumerate(lines) if line.startswith("> ")), default=-1)
    return lines[last + 1 :]


@override_settings(INTERVIEW_BUFFER_MAX_SIZE=5)
def test_bursts_that_overflow_see_the_replies_before_them() -> None:
    with agent() as one:
        id_ = conversation()
        say(id_, *(f"x{number}" for number in range(12)))
        quiet()
        first, second = replies(id_)[:2]
    assert [open_part(request) for request in one.asked] == [
        [f"x{number}" for number in range(5)],
        [f"x{number}" for number in range(5, 10)],
        ["x10", "x11"],
    ]
    assert shown(one.asked[2]) == [
        *(f"x{number}" for number in range(5)), f"> {first}",
        *(f"x{number}" for number in range(5, 10)), f"> {second}",
        "x10", "x11",
    ]  # fmt: skip


def test_a_burst_written_while_three_drafts_went_stale_sees_the_reply_to_them() -> None:
    id_ = conversation()
    waiting = iter(["w1", "w2", "w3"])

    def write_on(_request: Request) -> None:
        if (text := next(waiting, None)) is not None:
            say(id_, text)

    with agent(during=write_on) as one:
        say(id_, "w0")
        for _ in range(6):
            quiet()
    assert [open_part(request) for request in one.asked] == [["w0"], ["w0", "w1"], ["w0", "w1", "w2"], ["w3"]]
    assert shown(one.asked[-1])[:-1] == ["w0", "w1", "w2", f"> {replies(id_)[0]}"]


def test_what_waits_for_its_own_turn_is_not_shown_early() -> None:
    id_ = conversation()
    with override_settings(INTERVIEW_BUFFER_MAX_SIZE=1), agent() as one:
        say(id_, "first", "second", "third")
        quiet()
    assert [shown(request)[0] for request in one.asked] == ["first"] * 3
    assert [open_part(request) for request in one.asked] == [["first"], ["second"], ["third"]]


def test_what_staff_said_in_between_stands_where_it_was_said() -> None:
    id_ = conversation()
    with agent() as one:
        say(id_, "hello")
        quiet()
        takeover.take_over(id_, by="olga")
        say(id_, "is somebody there?")
        takeover.reply(id_, "yes, me", by="olga")
        takeover.hand_back(id_, by="olga")
        say(id_, "and now?")
        quiet()
    assert shown(one.asked[-1]) == ["hello", "> hello", "is somebody there?", "> yes, me", "and now?"]


def test_a_message_that_no_model_accepts_is_set_aside_and_the_talk_goes_on() -> None:
    def answers(request: Request) -> Replied:
        if any("forbidden" in line for line in shown(request)):
            raise UnacceptableInputError("The content filter refused the prompt.", usage=Usage(10, 0))
        return Replied("well")

    id_ = conversation()
    with agent(answers=answers):
        say(id_, "something forbidden")
        quiet()
        say(id_, "hello again")
        quiet()
    assert replies(id_)[-1] == "well"
    failed, done = Turn.objects.filter(conversation_id=id_).order_by("id")
    assert (failed.status, failed.attempts, failed.input_tokens) == (TurnStatus.FAILED, 1, 10)
    assert "content filter" in failed.error
    assert done.status == TurnStatus.DONE
    assert MessageFate.objects.get(turn_id=failed.pk).rule == "set_aside"


def test_a_turn_costs_what_all_its_attempts_cost() -> None:
    attempts = iter([AgentError("away", usage=Usage(100, 7)), AgentError("away", usage=Usage(2**31, 1))])

    def answers(_request: Request) -> Replied:
        if (error := next(attempts, None)) is not None:
            raise error
        return Replied("well", usage=Usage(50, 5))

    id_ = conversation()
    with agent(answers=answers):
        say(id_, "hello")
        for _ in range(3):
            quiet()
    turn = Turn.objects.get(conversation_id=id_)
    assert (turn.status, turn.attempts) == (TurnStatus.DONE, 3)
    assert (turn.input_tokens, turn.output_tokens) == (2**31 - 1, 13)


def test_a_turn_whose_worker_died_in_every_attempt_apologises_in_its_agents_words() -> None:
    own = an_agent(on_failure="My own apology.")
    id_ = conversation(agent_id=own.pk)
    say(id_, "hello")
    let_pass(100)
    with patch.object(answering, "answer"):
        run_due()
    Turn.objects.filter(conversation_id=id_).update(attempts=5)
    answering.answer(id_)
    assert replies(id_) == ["My own apology."]


def test_a_prompt_that_cannot_be_read_apologises_in_its_agents_words() -> None:
    own = an_agent(on_failure="My own apology.")
    id_ = conversation(agent_id=own.pk)
    with patch.object(dialogue, "before", side_effect=AgentBrokenError("unreadable")):
        say(id_, "hello")
        quiet()
    assert replies(id_) == ["My own apology."]


def test_the_oldest_of_a_long_dialogue_are_left_out() -> None:
    id_ = conversation()
    log.append_many(id_, [{"role": "user" if n % 2 else "assistant", "content": str(n)} for n in range(100)])
    with override_settings(INTERVIEW_HISTORY_LIMIT=10), agent() as one:
        say(id_, "now")
        quiet()
    assert [said.content for said in one.asked[0].history] == [str(number) for number in range(90, 100)]


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_answered_message_is_ever_shown_as_unanswered(data: st.DataObject) -> None:
    """People who write while the agent thinks, bursts of any size, turns that fail: every prompt is in order."""
    texts = count()
    sizes = st.integers(0, 4)
    answered: set[str] = set()

    def answers(request: Request) -> Replied:
        lines = shown(request)
        assert open_part(request)[-len(request.burst) :] == list(request.burst)
        assert not answered & set(open_part(request)), "an answered message is shown as unanswered"
        assert {f"> {text}" for text in replies(id_)} <= set(lines), "a reply is missing"
        say(id_, *(str(next(texts)) for _ in range(data.draw(sizes))))
        if data.draw(st.booleans()):
            raise AgentError("The model is away.")
        return Replied(f"reply to {' '.join(request.burst)}")

    with transaction.atomic():
        with override_settings(INTERVIEW_BUFFER_MAX_SIZE=3, INTERVIEW_TURN_ATTEMPTS=2), agent(answers=answers):
            id_ = conversation()
            for _ in range(data.draw(st.integers(1, 5))):
                say(id_, *(str(next(texts)) for _ in range(data.draw(sizes))))
                quiet()
                answered |= _answered(id_)
        transaction.set_rollback(True)


def _answered(id_: UUID) -> set[str]:
    found = Message.objects.filter(conversation_id=id_, fate__fate="answered")
    return set(found.values_list("content", flat=True))
