"""Fences by generation: whoever was overtaken by a later claim changes no row and sends nothing."""

from __future__ import annotations

from uuid import UUID

import pytest

from agents.outcomes import Replied
from conversations import reconcile, turns
from conversations.buffering import flush_now
from conversations.models import Delivery, Turn, TurnStatus
from conversations.turns import Claimed, LeaseLost, Settled
from tests.conversing import conversation, replies, say
from tests.time_travel import let_pass

pytestmark = pytest.mark.django_db


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
