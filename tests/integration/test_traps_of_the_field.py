"""Traps that others fell into, each with its name. The plainer ones are in `test_one_message_in_one_reply_out`."""

from __future__ import annotations

from typing import Any

import pytest

from agents.outcomes import Replied
from agents.runtime import AgentBrokenError
from config.models.queued_task import QueuedTask, State
from config.queue import run_due, sweep
from conversations import buffering, corrections, log, receiving, turns
from conversations.buffering import receive, typing
from conversations.models import Fate, Turn
from tests import ledger
from tests.conversing import agent, conversation, fates, quiet, replies, say
from tests.time_travel import let_pass

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def balanced() -> Any:
    """Whatever happens in a test, the books balance after it."""
    yield
    assert ledger.of_this_database().balance() == []


def test_a_message_between_claim_and_reply_is_answered_even_if_nothing_else_arrives() -> None:
    """It belongs to another step, so that the draft need not give way: it fires a turn of its own."""
    chat = conversation()
    late: list[object] = []

    def during(_request: object) -> None:
        if not late:
            late.append(receive(chat, "about the next question", interview_step=1))

    with agent(during=during) as asked:
        say(chat, "first")
        quiet()
        assert replies(chat) == ["first"]
        quiet()
    assert asked.bursts == [["first"], ["about the next question"]]


def test_a_reply_that_stands_after_a_waiting_message_does_not_hide_it() -> None:
    chat = conversation()

    def during(_request: object) -> None:
        receive(chat, "b", external_id="b", interview_step=1)

    with agent(during=during) as asked:
        say(chat, "a")
        quiet()
        assert [(entry.role, entry.content) for entry in log.history(chat)] == [
            ("user", "a"),
            ("user", "b"),
            ("assistant", "a"),
        ]
        asked.during = None
        quiet()
    assert replies(chat) == ["a", "b"]


def test_a_flush_that_raises_leaves_the_burst_intact_is_tried_again_and_then_shown_as_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chat = conversation()
    say(chat, "a", "b")

    def broken(*_args: object) -> None:
        raise RuntimeError("disk on fire")

    with agent() as asked, monkeypatch.context() as patched:
        patched.setattr(buffering, "seal", broken)
        pauses = []
        for attempt in range(1, 6):
            let_pass(1_000)
            run_due()
            assert [message["content"] for message in buffering.get_messages(chat)] == ["a", "b"]
            timer = QueuedTask.objects.get(name=receiving.FLUSH)
            assert timer.attempts == attempt
            assert "disk on fire" in timer.error
            pauses.append(timer.due_at)
        assert timer.state == State.DEAD, "and staff see it"
        assert asked.asked == []
    with agent() as asked:
        assert {swept.name: swept.woken for swept in sweep()}["bursts.overdue"] == 1
        run_due()
    assert asked.bursts == [["a", "b"]]


def test_a_burst_about_two_topics_loses_neither() -> None:
    chat = conversation()
    with agent() as asked:
        for number in range(6):
            receive(chat, str(number), interview_step=number % 2)
        quiet()
    assert sorted(asked.bursts) == [["0", "2", "4"], ["1", "3", "5"]]
    assert set(fates(chat).values()) == {Fate.ANSWERED}


def test_a_settled_turn_wakes_whoever_waited_for_it_and_nobody_else() -> None:
    chat = conversation()
    with agent() as asked:
        say(chat, "a")
        let_pass(100)
        buffering.flush(chat, 0)
        claimed = turns.claim(chat)
        assert isinstance(claimed, turns.Claimed)
        receive(chat, "b", interview_step=1)
        quiet(5)  # its wake-up finds the first turn running, and waits for the lease
        assert asked.asked == []
        QueuedTask.objects.all().delete()
        turns.settle(claimed, Replied("a"))
        run_due()
        assert asked.bursts == [["b"]], "at once, not when the lease would have been over"
        assert not QueuedTask.objects.exists()


def test_an_album_of_five_photos_and_its_caption_is_one_turn(settings: Any) -> None:
    settings.INTERVIEW_BUFFER_DEBOUNCE_TIMEOUT = 0.5
    chat = conversation()
    with agent() as asked:
        for number in range(5):
            receive(chat, f"[photo {number}]", metadata={"media_group_id": "77"})
            quiet(1.2)
        say(chat, "the whole trip")
        quiet(5)
    assert [len(burst) for burst in asked.bursts] == [6]


def test_a_voice_note_whose_transcript_comes_later_joins_its_turn() -> None:
    chat = conversation()
    with agent() as asked:
        (voice, _) = say(chat, "[voice]", "and one more thing")
        let_pass(3)
        typing(chat, "uploading")
        let_pass(3)
        assert corrections.correct(chat, voice.entry.id, "I work at night").in_burst
        quiet(0)
        assert asked.bursts == [], "the correction is heard, too"
        quiet()
    assert asked.bursts == [["I work at night", "and one more thing"]]


def test_a_paste_of_9000_characters_with_jitter_between_its_parts_is_one_turn(settings: Any) -> None:
    settings.INTERVIEW_BUFFER_DEBOUNCE_TIMEOUT = 1.0
    chat = conversation()
    text = "".join(chr(ord("a") + number % 26) for number in range(9_000))
    with agent() as asked:
        for start in range(0, len(text), 4_096):
            say(chat, text[start : start + 4_096])
            quiet(1.2 if start + 4_096 < len(text) else 0)
        quiet(5)
    assert ["".join(burst) for burst in asked.bursts] == [text]


def test_five_hundred_messages_against_a_limit_of_fifty_are_all_answered_in_order() -> None:
    chat = conversation()
    said = [str(number) for number in range(500)]
    with agent() as asked:
        say(chat, *said)
        quiet()
    assert [text for burst in asked.bursts for text in burst] == said
    assert {len(burst) for burst in asked.bursts} == {50}
    assert len(replies(chat)) == 10


def test_an_interrupted_turn_leaves_a_conversation_that_works() -> None:
    chat = conversation()

    def broken(_request: object) -> None:
        raise AgentBrokenError("cut off between a tool call and its result")

    with agent(during=broken) as asked:
        say(chat, "a")
        quiet()
        asked.during = None
        say(chat, "b")
        quiet()
    assert asked.bursts[-1] == ["b"]
    assert replies(chat)[-1] == "b"
    assert fates(chat) == {0: Fate.FAILED, 2: Fate.ANSWERED}


def test_drafts_that_gave_way_are_counted_through_a_retry_by_hand() -> None:
    """A turn that took a failed turn's messages has given way as often as before, not less."""
    chat = conversation()
    with agent(answers=lambda _request: Replied("ok")) as asked:
        say(chat, "failed")
        asked.during = _raise
        quiet()
        asked.during = lambda request: say(chat, "more") if len(request.burst) < 3 else None  # type: ignore[assignment, return-value]
        say(chat, "first")
        quiet()  # superseded once
        quiet()  # and twice: the next is sent, whatever comes
        let_pass(100)
        buffering.flush(chat, 0)
        turns.retry(Turn.objects.get(status="failed").id, by="anna")
        asked.during = None
        run_due()
    assert Turn.objects.get(status="done").redrafts == 2


def _raise(_request: object) -> None:
    raise AgentBrokenError
