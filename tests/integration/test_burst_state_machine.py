"""Any order of anything: people, workers, crashes and staff against an oracle that knows the rules and no SQL."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from unittest.mock import patch
from uuid import UUID

import pytest
from django.db import connection, transaction
from django.test import override_settings
from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from agents.outcomes import Replied
from config.queue import run_due
from conversations import answering, buffering, corrections, log, takeover, turns
from conversations.buffering import receive
from conversations.models import Message, MessageBuffer, Turn
from conversations.turns import Busy, Claimed, Idle, LeaseLost
from tests import ledger
from tests.conversing import conversation, replies
from tests.integration.burst_oracle import LEASE, MAX_BYTES, MAX_SIZE, OVER, Answering, Chat, Said
from tests.patience import LONG
from tests.time_travel import let_pass

pytestmark = pytest.mark.django_db

EARLY, LATE = 0.05, 1.0  # seconds a flush may come before the quiet time is over, and after the deadline
UNSURE = 0.3  # seconds around a due time in which the database and we may disagree

chats, steps = st.integers(0, 1), st.integers(0, 1)
texts = st.text("abcйё🙂", min_size=1, max_size=20)
somewhere = st.integers(0, 10_000)


@dataclass
class Held:
    """A claim in somebody's hands, alive or not."""

    chat: int
    claimed: Claimed
    turn: Answering


class Bursts(RuleBasedStateMachine):
    """Two conversations with two steps each. Time is the real one, plus what we let pass."""

    def __init__(self) -> None:
        super().__init__()
        self.example = transaction.atomic()
        self.example.__enter__()
        self.ids = [conversation(), conversation()]
        self.chats = [Chat(), Chat()]
        self.held: list[Held] = []
        self.passed = 0.0
        self.retried = False

    def teardown(self) -> None:
        connection.set_rollback(True)
        self.example.__exit__(None, None, None)

    def now(self) -> float:
        return time.monotonic() + self.passed

    # --- the person ---
    @rule(chat=chats, step=steps, text=texts)
    def message(self, chat: int, step: int, text: str) -> None:
        received = receive(self.ids[chat], text, interview_step=step)
        self.chats[chat].message(text, step, self.now())
        assert received.entry.message_index == self.chats[chat].said[-1].index

    @rule(chat=chats, step=steps)
    def overflow(self, chat: int, step: int) -> None:
        for number in range(MAX_SIZE):
            self.message(chat, step, str(number))

    @rule(chat=chats, step=steps)
    def overflow_by_size(self, chat: int, step: int) -> None:
        self.message(chat, step, "x" * (MAX_BYTES - 10))

    @rule(chat=chats)
    def typing(self, chat: int) -> None:
        buffering.typing(self.ids[chat], "typing")
        self.chats[chat].typing(self.now())

    @rule(chat=chats, which=somewhere, text=texts)
    def edit(self, chat: int, which: int, text: str) -> None:
        said = self._some_message(chat, which)
        corrections.correct(self.ids[chat], self._id(chat, said), text)
        self.chats[chat].edit(said, text, self.now())

    @rule(chat=chats, which=somewhere)
    def retract(self, chat: int, which: int) -> None:
        said = self._some_message(chat, which)
        assert corrections.retract(self.ids[chat], self._id(chat, said), by="user") is not said.deleted
        self.chats[chat].retract(said, self.now())

    def _some_message(self, chat: int, which: int) -> Said:
        assume(self.chats[chat].said)
        said = self.chats[chat].said
        return said[which % len(said)]

    def _id(self, chat: int, said: Said) -> UUID:
        return Message.objects.get(conversation_id=self.ids[chat], message_index=said.index).id

    # --- time and the worker ---
    @rule(seconds=st.sampled_from([0.0, 1.0, 3.9, 4.2, 6.2, 20.0, 61.0]))
    def tick(self, seconds: float) -> None:
        """Time passes and timers fire. A burst is sealed when its quiet time is over, and not before."""
        let_pass(seconds)
        self.passed += seconds
        begun = self.now()
        run_due()
        ended = self.now()
        for chat, oracle in enumerate(self.chats):
            is_open = {buffer.interview_step for buffer in MessageBuffer.objects.filter(conversation_id=self.ids[chat])}
            for step, burst in list(oracle.bursts.items()):
                if step in is_open:
                    assert begun <= burst.high + LATE, "it waits beyond its time"
                    assert begun <= burst.deadline + LATE, "it waits beyond its deadline"
                else:
                    assert ended >= burst.low - EARLY, "it was flushed before the person was quiet"
                    oracle.seal(step)

    @rule(chat=chats)
    def claim(self, chat: int) -> None:
        oracle, now = self.chats[chat], self.now()
        oldest = oracle.oldest
        if oldest is not None and oldest.low - UNSURE < now < oldest.high + UNSURE and oldest.low != oldest.high:
            return  # within the jitter of a retry
        if oldest is not None and oldest.status == "running" and abs(now - oldest.low) < UNSURE:
            return
        claimed = turns.claim(self.ids[chat])
        turn = oracle.claim(self.now())
        if turn is None:
            assert isinstance(claimed, Idle if oldest is None else Busy)
            return
        assert isinstance(claimed, Claimed)
        assert [message["content"] for message in claimed.input] == [message.current for message in turn.messages]
        self.held.append(Held(chat, claimed, turn))

    @precondition(lambda self: self.held)
    @rule(which=somewhere)
    def finish(self, which: int) -> None:
        """Whoever holds a claim finishes it, even one that others took from under them."""
        held = self.held.pop(which % len(self.held))
        text = " | ".join(message["content"] for message in held.claimed.input)
        settled = turns.settle(held.claimed, Replied(text))
        came = self.chats[held.chat].finish(held.turn, held.claimed.generation)
        assert came == ("lost" if isinstance(settled, LeaseLost) else settled.status)

    @precondition(lambda self: self.held)
    @rule(which=somewhere, permanent=st.booleans())
    def fail(self, which: int, permanent: bool) -> None:
        held = self.held.pop(which % len(self.held))
        settled = turns.fail(held.claimed, "broken", permanent=permanent, apology="sorry")
        came = self.chats[held.chat].fail(held.turn, held.claimed.generation, self.now(), permanent=permanent)
        assert came == ("lost" if isinstance(settled, LeaseLost) else settled.status)

    @precondition(lambda self: self.held)
    @rule(which=somewhere)
    def crash(self, which: int) -> None:
        """The claim dies with its process: nobody will ever finish it, its lease has to run out."""
        self.held.pop(which % len(self.held))

    @precondition(lambda self: self.held)
    @rule()
    def expire(self) -> None:
        """Everybody sleeps beyond the lease, with the claims still in their hands."""
        self.tick(LEASE + 1)

    # --- staff ---
    @rule(chat=chats)
    def take_over(self, chat: int) -> None:
        oracle = self.chats[chat]
        assert takeover.take_over(self.ids[chat], by="anna") is (oracle.mode == "auto")
        if oracle.mode == "auto":
            oracle.mode = "manual"
            oracle.take_away("staff")

    @rule(chat=chats)
    def hand_back(self, chat: int) -> None:
        oracle = self.chats[chat]
        assert takeover.hand_back(self.ids[chat], by="anna") is (oracle.mode == "manual")
        oracle.mode = "auto"

    @rule(chat=chats)
    def clear(self, chat: int) -> None:
        log.clear(self.ids[chat], by="user")
        self.chats[chat].take_away("cleared")
        for said in self.chats[chat].said:
            said.deleted = True
        self.chats[chat].replies.clear()

    @rule(chat=chats, which=somewhere)
    def retry(self, chat: int, which: int) -> None:
        failed = [turn for turn in self.chats[chat].turns if turn.status == "failed"]
        assume(failed)
        turn = failed[which % len(failed)]
        rows = list(Turn.objects.filter(conversation_id=self.ids[chat]).order_by("id").values_list("id", flat=True))
        turns.retry(rows[self.chats[chat].turns.index(turn)], by="anna")
        self.chats[chat].retry(turn, self.now())
        self.retried = True

    # --- what always holds ---
    @invariant()
    def the_books_balance(self) -> None:
        books = ledger.of_this_database()
        ours = {str(id_) for id_ in self.ids}
        books.messages = [message for message in books.messages if message.conversation in ours]
        books.turns = [turn for turn in books.turns if turn.conversation in ours]
        assert books.balance(in_order=not self.retried) == []

    @invariant()
    def the_database_agrees_with_the_oracle(self) -> None:
        for chat, oracle in zip(self.ids, self.chats, strict=True):
            fates = dict(
                Message.objects.filter(conversation_id=chat, inbound=True).values_list("message_index", "fate__fate")
            )
            waiting = {said.index for said in oracle.said if not said.fate}
            assert {index: fate or "" for index, fate in fates.items() if index not in waiting} == {
                said.index: said.fate for said in oracle.said if said.fate
            }
            assert {fates[index] for index in waiting} <= {None, "failed"}
            assert replies(chat) == oracle.replies
            statuses = list(Turn.objects.filter(conversation_id=chat).order_by("id").values_list("status", "redrafts"))
            assert statuses == [(turn.status, turn.redrafts) for turn in oracle.turns]
            assert len(oracle.running) <= 1
            assert all(turn.redrafts <= 2 for turn in oracle.turns), "at most two drafts in a row give way"

    @invariant()
    def nothing_unfinished_is_left_in_manual_mode(self) -> None:
        for oracle in self.chats:
            if oracle.mode == "manual" and not self.retried:
                assert not oracle.bursts
                assert all(turn.status in OVER for turn in oracle.turns)


@pytest.fixture
def only_timers_fire() -> Iterator[None]:
    """Turns are claimed by the machine's own rules, not by the wake-ups that bursts leave in the queue."""
    with (
        patch.object(answering, "answer", lambda _conversation_id: None),
        override_settings(INTERVIEW_BUFFER_MAX_SIZE=MAX_SIZE, INTERVIEW_BUFFER_MAX_BYTES=MAX_BYTES),
    ):
        yield


@pytest.mark.long
def test_any_order_of_anything_agrees_with_the_oracle(only_timers_fire: None) -> None:
    run_state_machine_as_test(
        Bursts,
        settings=settings(
            max_examples=2_000 if LONG else 60,
            stateful_step_count=50 if LONG else 30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
