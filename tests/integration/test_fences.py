"""Fences by generation: whoever was overtaken by a later claim changes no row and sends nothing."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch
from uuid import UUID

import pytest
from django.test import override_settings
from structlog.testing import capture_logs

from agents.config import Budgets
from agents.errors import AgentError, NotOursError, OutOfBudgetError
from agents.guard import Run
from agents.llm.scripted import ScriptedModel
from agents.outcomes import Outcome, Replied, Usage
from agents.request import Request
from conversations import answering, reconcile, turns
from conversations.buffering import flush_now
from conversations.models import Delivery, Turn, TurnStatus
from conversations.turns import Claimed, LeaseLost, Settled
from tests.answering import asked
from tests.conversing import agent, conversation, quiet, replies, say
from tests.processes import eventually
from tests.time_travel import let_pass

pytestmark = pytest.mark.django_db(transaction=True)


def waiting_turn() -> UUID:
    id_ = conversation()
    say(id_, "hello")
    flush_now(id_, 0, by="test")
    return id_


def claim(conversation_id: UUID) -> Claimed:
    claimed = turns.claim(conversation_id)
    assert isinstance(claimed, Claimed)
    return claimed


def test_of_two_claims_the_later_one_settles_and_the_first_changes_nothing() -> None:
    id_ = waiting_turn()
    first = claim(id_)
    let_pass(60)  # its lease runs out
    second = claim(id_)
    assert second.generation == first.generation + 1
    assert isinstance(turns.settle(first, Replied("too late")), LeaseLost)
    assert (replies(id_), Delivery.objects.count()) == ([], 0)
    assert Turn.objects.get(pk=first.id).status == TurnStatus.RUNNING
    assert isinstance(turns.settle(second, Replied("in time")), Settled)
    assert replies(id_) == ["in time"]


def test_of_two_claims_the_first_can_neither_renew_nor_fail_the_turn() -> None:
    id_ = waiting_turn()
    first = claim(id_)
    let_pass(60)
    second = claim(id_)
    assert not turns.renew(first)
    assert isinstance(turns.fail(first, "broken", permanent=True, apology="sorry"), LeaseLost)
    assert turns.renew(second)
    assert (replies(id_), Turn.objects.get(pk=first.id).error) == ([], "")


def test_a_message_in_a_running_turn_is_no_hole() -> None:
    id_ = waiting_turn()
    claim(id_)
    assert list(reconcile.holes()) == []
    assert reconcile.forgotten().ok


def thinks_until_told_to_stop(request: Request) -> Outcome:
    """A model that would write for ever; it is paid for what it wrote."""
    assert request.draft is not None
    request.draft("I was about to")
    eventually(lambda: not request.still_ours(), "the draft to be cut off")
    raise NotOursError(usage=Usage(40, 4))


def test_a_draft_is_cut_off_as_soon_as_the_person_writes_on() -> None:
    id_ = conversation()
    drafts = iter([thinks_until_told_to_stop])

    def answers(request: Request) -> Outcome:
        if (draft := next(drafts, None)) is not None:
            say(id_, "and this")
            return draft(request)
        return Replied("both")

    with agent(answers=answers) as one:
        say(id_, "this")
        quiet()
        quiet()
    first, second = Turn.objects.filter(conversation_id=id_).order_by("id")
    assert one.bursts == [["this"], ["this", "and this"]]
    assert (first.status, first.draft, first.superseded_by) == (TurnStatus.SUPERSEDED, "I was about to", second.pk)
    assert (first.input_tokens, first.output_tokens) == (40, 4)
    assert replies(id_) == ["both"]


def test_a_draft_with_no_room_for_it_in_the_next_burst_is_not_cut_off() -> None:
    id_ = conversation()

    def answers(request: Request) -> Outcome:
        if request.burst == ["this"]:
            say(id_, "and this")
            assert not turns.supersede(claimed_of(request), "half")
        return Replied(" ".join(request.burst))

    with override_settings(INTERVIEW_BUFFER_MAX_SIZE=1), agent(answers=answers):
        say(id_, "this")
        quiet()
        quiet()
    assert replies(id_) == ["this", "and this"]


def claimed_of(request: Request) -> Claimed:
    turn = Turn.objects.get(pk=request.turn_id)
    return Claimed(turn.pk, turn.generation, request.conversation_id, 0, turn.input, turn.attempts, turn.redrafts)


def test_the_budgets_of_a_turn_bind_over_all_its_attempts() -> None:
    id_ = conversation()
    spent: list[tuple[int, bool]] = []

    def answers(request: Request) -> Outcome:
        spent.append((request.spent_tokens, request.spent_seconds > 0))
        if len(spent) < 3:
            raise AgentError("The model is away.", usage=Usage(100, 10))
        return Replied("well")

    with agent(answers=answers):
        say(id_, "hello")
        for _ in range(3):
            quiet()
    assert spent == [(0, False), (110, True), (220, True)]


def test_what_earlier_attempts_spent_is_gone_from_the_budget() -> None:
    def run(**spent: Any) -> Run:
        budgets = Budgets(tokens=1_000, tool_calls=5, seconds=10)
        return Run(asked(None, "hello", **spent), ScriptedModel(), "scripted", "", {}, budgets, "agent", 1)

    run().check([])
    for spent in ({"spent_tokens": 1_000}, {"spent_seconds": 10.5}):
        with pytest.raises(OutOfBudgetError):
            run(**spent).check([])


def test_an_outcome_that_the_database_cannot_hold_is_named_in_the_turn() -> None:
    id_ = waiting_turn()
    with patch.object(answering, "ask", return_value=Replied("unfit", next_step=2**40)):
        answering.answer(id_)
        let_pass(600)
        answering.answer(id_)
    turn = Turn.objects.get(conversation_id=id_)
    assert (turn.status, turn.attempts) == (TurnStatus.FAILED, 2)
    assert turn.error.startswith("DataError: ")


@override_settings(INTERVIEW_BUFFER_MAX_SIZE=2)
def test_a_burst_that_overflows_is_logged_as_an_anomaly() -> None:
    id_ = conversation()
    with capture_logs() as logs:
        for text in ("one", "two", "three"):
            say(id_, text)
        quiet()
    sealed = [(line["trigger"], line["log_level"]) for line in logs if line["event"] == "buffer.flush"]
    assert sealed == [("overflow", "warning"), ("debounce", "info")]


def test_a_turn_that_staff_try_again_has_its_whole_budget() -> None:
    id_ = conversation()
    spent: list[tuple[int, float]] = []

    def answers(request: Request) -> Outcome:
        spent.append((request.spent_tokens, request.spent_seconds))
        if len(spent) < 3:
            raise AgentError("The model is away.", usage=Usage(100, 10))
        return Replied("well", usage=Usage(7, 1))

    with override_settings(INTERVIEW_TURN_ATTEMPTS=2), agent(answers=answers):
        say(id_, "hello")
        quiet()
        quiet()
        turns.retry(Turn.objects.get(conversation_id=id_).pk, by="anna")
        quiet()
    assert [tokens for tokens, _seconds in spent] == [0, 110, 0]
    assert spent[2][1] == 0
    turn = Turn.objects.get(conversation_id=id_)
    assert (turn.status, turn.input_tokens, turn.output_tokens) == (TurnStatus.DONE, 207, 21), "the cost is that of all"
