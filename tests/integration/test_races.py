"""Two at once, on real connections with real commits: whoever comes second finds the first's work and fits in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from agents.outcomes import Replied
from agents.runtime import AgentBrokenError
from conversations import answering, buffering, log, takeover, turns
from conversations.buffering import receive
from conversations.models import Fate, Message, Turn, TurnStatus
from conversations.turns import Busy, Claimed, LeaseLost, Settled
from tests import ledger
from tests.conversing import agent, conversation, fates, quiet, replies, say
from tests.patience import LONG
from tests.racing import blocked_by_us, racers
from tests.time_travel import let_pass

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = 1_000 if LONG else 40


def everything_answered(*chats: UUID) -> None:
    """Let all bursts end and all turns run, then balance the books."""
    for _ in range(4):
        quiet()
    books = ledger.of_this_database()
    assert books.balance() == []
    assert not books.waiting
    assert {message.fate for message in books.inbound} == {"answered"}
    for chat in chats:
        assert " | ".join(replies(chat)) == " | ".join(e.content for e in log.history(chat) if e.role == "user")


def claimed_turn(chat: UUID, *texts: str) -> Claimed:
    """A turn that is running, in our hands."""
    say(chat, *texts)
    let_pass(100)
    assert buffering.flush(chat, 0)
    claimed = turns.claim(chat)
    assert isinstance(claimed, Claimed)
    return claimed


def answer_of(claimed: Claimed) -> Replied:
    return Replied(" | ".join(message["content"] for message in claimed.input))


@pytest.mark.long
def test_a_message_that_races_with_the_seal_is_in_this_burst_or_opens_the_next() -> None:
    chats = [conversation() for _ in range(ROUNDS)]
    with agent() as asked, racers() as race:
        for chat in chats:
            say(chat, "a", "b")
            let_pass(4)
            race(lambda chat=chat: buffering.flush(chat, 0), lambda chat=chat: receive(chat, "c"))
        everything_answered(*chats)
    assert {len(burst) for burst in asked.bursts} <= {1, 2, 3}


@pytest.mark.long
def test_a_message_during_the_run_waits_for_the_next_answer_or_joins_it() -> None:
    chats = [conversation() for _ in range(ROUNDS)]
    with racers() as race, agent():
        for chat in chats:
            say(chat, "a")
            let_pass(100)
            buffering.flush(chat, 0)
            race(lambda chat=chat: answering.answer(chat), lambda chat=chat: receive(chat, "b"))
        everything_answered(*chats)


@pytest.mark.long
def test_a_message_that_races_with_the_commit_of_a_reply_is_answered_once() -> None:
    chats = [conversation() for _ in range(ROUNDS)]
    stale = 0
    with racers() as race, agent():
        for chat in chats:
            claimed = claimed_turn(chat, "a")
            settled, _ = race(
                lambda claimed=claimed: turns.settle(claimed, answer_of(claimed)),
                lambda chat=chat: receive(chat, "b"),
            )
            stale += settled.status == TurnStatus.SUPERSEDED
        everything_answered(*chats)
    assert 0 <= stale <= ROUNDS


def test_two_workers_on_one_conversation_ask_the_agent_once() -> None:
    chats = [conversation() for _ in range(20)]
    with racers() as race, agent() as asked:
        for chat in chats:
            say(chat, "a")
            let_pass(100)
            buffering.flush(chat, 0)
            results = race(*[lambda chat=chat: answering.answer(chat)] * 2)
            assert any(isinstance(result, Settled) for result in results)
        assert len(asked.asked) == len(chats)
        everything_answered(*chats)


def test_the_second_worker_computes_nothing_while_the_first_does() -> None:
    chat = conversation()
    second: list[object] = []
    with agent(during=lambda request: second.append(answering.answer(request.conversation_id))) as asked:
        say(chat, "a")
        quiet()
        assert [type(result) for result in second] == [Busy]
        assert len(asked.asked) == 1
    assert replies(chat) == ["a"]


def test_two_workers_seal_a_burst_once() -> None:
    chats = [conversation() for _ in range(20)]
    with racers() as race:
        for chat in chats:
            say(chat, "a")
            let_pass(100)
            sealed = race(*[lambda chat=chat: buffering.flush(chat, 0)] * 2)
            assert sum(turn is not None for turn in sealed) == 1
    assert Turn.objects.count() == len(chats)


def taken_from_under(claimed: Claimed) -> Callable[[], Any]:
    """Somebody claims the turn anew, the lease being over."""

    def again() -> Any:
        Turn.objects.filter(pk=claimed.id).update(lease_until=Turn.objects.get(pk=claimed.id).created_at)
        return turns.claim(claimed.conversation_id)

    return again


@pytest.mark.parametrize(
    ("decided", "end"),
    [
        ("_say", lambda claimed: turns.settle(claimed, answer_of(claimed))),
        ("_say", lambda claimed: turns.fail(claimed, "broken", permanent=True, apology="sorry")),
        ("_backoff", lambda claimed: turns.fail(claimed, "broken", permanent=False, apology="sorry")),
    ],
    ids=["settle", "give up", "try again"],
)
def test_a_lease_that_is_lost_in_the_middle_of_settling_makes_no_second_reply(
    monkeypatch: pytest.MonkeyPatch, decided: str, end: Callable[[Claimed], object]
) -> None:
    """The turn is claimed anew between our look at the lease and the end of our transaction."""
    chat = conversation()
    claimed = claimed_turn(chat, "a")
    taken: list[Any] = []
    go_on = getattr(turns, decided)

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        if not taken:
            taken.append(blocked_by_us(taken_from_under(claimed)))
        return go_on(*args, **kwargs)

    monkeypatch.setattr(turns, decided, interrupted)
    end(claimed)
    monkeypatch.undo()
    other = taken[0].result(30)
    if isinstance(other, Claimed):
        turns.settle(other, answer_of(other))
    assert len(replies(chat)) <= 1
    assert ledger.of_this_database().balance() == []


def test_a_paused_runner_updates_no_row_and_sends_nothing() -> None:
    chat = conversation()
    sleeper = claimed_turn(chat, "a")
    let_pass(60)
    with agent() as asked:
        assert isinstance(answering.answer(chat), Settled)
    before = list(Turn.objects.values())
    assert not turns.renew(sleeper)
    assert isinstance(turns.settle(sleeper, Replied("late")), LeaseLost)
    assert isinstance(turns.fail(sleeper, "late", permanent=True, apology="sorry"), LeaseLost)
    assert isinstance(turns.fail(sleeper, "late", permanent=False, apology="sorry"), LeaseLost)
    assert list(Turn.objects.values()) == before
    assert asked.bursts == [["a"]]
    everything_answered(chat)


@pytest.mark.parametrize("act", [takeover.take_over, log.clear], ids=["takeover", "clear"])
def test_whoever_takes_a_conversation_away_while_a_reply_settles_comes_before_or_after_it(
    act: Callable[..., object],
) -> None:
    chats = [conversation() for _ in range(30)]
    outcomes = set()
    with racers() as race:
        for chat in chats:
            claimed = claimed_turn(chat, "a")
            settled, _ = race(
                lambda claimed=claimed: turns.settle(claimed, answer_of(claimed)),
                lambda chat=chat: act(chat, by="anna"),
            )
            said = Message.objects.filter(conversation_id=chat, role="assistant").count()
            assert said == isinstance(settled, Settled)
            outcomes.add((said, *fates(chat).values()))
    lost = Fate.STAFF if act is takeover.take_over else Fate.CLEARED
    assert outcomes <= {(1, Fate.ANSWERED), (0, lost)}
    assert ledger.of_this_database().balance() == []


def test_a_message_that_races_with_a_takeover_is_left_to_staff_either_way() -> None:
    """Joining an open burst looks at the mode under the lock: what was true before it no longer counts."""
    chats = [conversation() for _ in range(30)]
    with racers() as race:
        for chat in chats:
            say(chat, "a")
            race(lambda chat=chat: takeover.take_over(chat, by="anna"), lambda chat=chat: receive(chat, "b"))
            assert not buffering.has_buffer(chat)
            assert fates(chat) == {0: Fate.STAFF, 1: Fate.STAFF}
    assert ledger.of_this_database().balance() == []


def test_parallel_deliveries_of_one_update_store_one_message() -> None:
    chats = [conversation() for _ in range(20)]
    with racers(4) as race:
        for chat in chats:
            received = race(*[lambda chat=chat: receive(chat, "once", external_id="update-1")] * 4)
            assert len({each.entry.id for each in received}) == 1
            assert sum(each.entry.repeated for each in received) == 3
            assert len(buffering.get_messages(chat)) == 1


def test_a_retry_by_hand_waits_for_the_turn_that_runs() -> None:
    """An older turn is opened again while a younger one runs: never two at once, and both end."""
    chat = conversation()
    failed = claimed_turn(chat, "a")
    turns.fail(failed, "broken", permanent=True, apology="sorry")
    running = claimed_turn(chat, "b")
    turns.retry(failed.id, by="anna")
    assert isinstance(turns.claim(chat), Busy)
    with agent():
        turns.settle(running, answer_of(running))
        quiet()
    assert set(Turn.objects.values_list("status", flat=True)) == {TurnStatus.DONE}
    assert ledger.of_this_database().balance(in_order=False) == []


def test_a_burst_may_be_cleared_and_flushed_at_once() -> None:
    chats = [conversation() for _ in range(20)]
    with racers() as race, agent():
        for chat in chats:
            say(chat, "a")
            let_pass(100)
            sealed, cleared = race(
                lambda chat=chat: buffering.flush(chat, 0),
                lambda chat=chat: buffering.clear_buffer(chat, by="anna"),
            )
            assert (sealed is not None) + cleared == 1
        quiet()
    assert ledger.of_this_database().balance() == []


def test_an_agent_that_breaks_while_staff_take_over_says_nothing() -> None:
    chat = conversation()

    def broken(request: Any) -> None:
        takeover.take_over(request.conversation_id, by="anna")
        raise AgentBrokenError

    with agent(during=broken):
        say(chat, "a")
        quiet()
    assert replies(chat) == []
    assert fates(chat) == {0: Fate.STAFF}


def test_of_two_tabs_that_save_at_once_one_is_refused() -> None:
    id_ = conversation()
    start = [{"role": "user", "content": "a"}]
    log.save_session(id_, start)

    def saving(tail: str) -> Callable[[], Any]:
        def save() -> Any:
            try:
                return log.save_session(id_, [*start, {"role": "user", "content": tail}])
            except log.HistoryConflictError:
                return "conflict"

        return save

    with racers() as race:
        for number in range(20):
            saved = race(saving(f"one {number}"), saving(f"two {number}"))
            assert saved.count("conflict") == 1
            start.append({"role": "user", "content": log.history(id_)[-1].content})
    assert [entry.content for entry in log.history(id_)] == [message["content"] for message in start]
