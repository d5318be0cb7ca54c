"""The life of a burst, from the first message to the settled turn: the best place to see how it all fits together."""

from __future__ import annotations

import pytest

from agents import registry
from agents.config import parse
from conversations import buffering, corrections, log, takeover, turns
from conversations.buffering import receive, typing
from conversations.errors import BlankMessageError, ConversationClosedError
from conversations.models import Delivery, Fate, MessageBuffer, Mode, Trigger, Turn, TurnStatus
from tests.conversing import agent, conversation, fates, quiet, replies, say
from tests.time_travel import let_pass

pytestmark = pytest.mark.django_db


def test_one_message_in_one_reply_out() -> None:
    chat = conversation()
    with agent() as asked:
        say(chat, "Hello")
        assert buffering.has_buffer(chat)
        quiet()
    assert asked.bursts == [["Hello"]]
    assert replies(chat) == ["Hello"]
    assert not buffering.has_buffer(chat)
    assert fates(chat) == {0: Fate.ANSWERED}
    turn = Turn.objects.get()
    assert (turn.status, turn.trigger, turn.attempts) == (TurnStatus.DONE, Trigger.DEBOUNCE, 1)
    reply = log.history(chat)[-1]
    assert (reply.turn_id, turn.reply_id) == (turn.id, reply.id)
    assert Delivery.objects.get().message_id == reply.id


def test_a_burst_gets_one_answer() -> None:
    chat = conversation()
    with agent() as asked:
        say(chat, "I moved", "to Berlin", "last year")
        quiet()
    assert asked.bursts == [["I moved", "to Berlin", "last year"]]
    assert replies(chat) == ["I moved | to Berlin | last year"]
    assert set(fates(chat).values()) == {Fate.ANSWERED}


def test_a_timer_that_fires_early_sets_itself_again() -> None:
    chat = conversation()
    with agent() as asked:
        say(chat, "one")
        let_pass(3)
        say(chat, "two")  # now quiet at 3 + 4 s
        quiet(2)
        assert asked.bursts == []
        quiet(2.5)
        assert asked.bursts == [["one", "two"]]


def test_a_message_during_the_run_is_never_lost_and_the_stale_draft_is_not_sent() -> None:
    chat = conversation()
    with agent(during=lambda request: say(chat, "wait, and this") if len(request.burst) == 1 else None) as asked:
        say(chat, "first")
        quiet()
        assert replies(chat) == []
        assert Turn.objects.get().status == TurnStatus.SUPERSEDED
        quiet()
    assert asked.bursts == [["first"], ["first", "wait, and this"]]
    assert replies(chat) == ["first | wait, and this"]
    stale, sent = Turn.objects.order_by("id")
    assert (stale.draft, stale.superseded_by) == ("first", sent.id)
    assert fates(chat) == {0: Fate.ANSWERED, 1: Fate.ANSWERED}


def test_a_draft_is_superseded_at_most_twice_in_a_row() -> None:
    chat = conversation()
    with agent(during=lambda _request: say(chat, "and")) as asked:
        say(chat, "start")
        for _ in range(3):
            quiet()
        assert replies(chat) == ["start | and | and"]
        asked.during = None
        quiet()
    assert replies(chat) == ["start | and | and", "and"]
    assert set(fates(chat)) == {0, 1, 2, 3}
    assert Turn.objects.filter(status=TurnStatus.SUPERSEDED).count() == 2


@pytest.mark.parametrize("text", ["", " ", "\t\n", "\u00a0\u3000", "\u200b\ufeff\u2060", "\u2800", "\x00\x1f"])
def test_blank_input_opens_no_burst(text: str) -> None:
    chat = conversation()
    with pytest.raises(BlankMessageError):
        receive(chat, text)
    assert not buffering.has_buffer(chat)
    assert log.count(chat) == 0


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("/start", "start"),
        ("/Reset now", "reset"),
        ("/help@parley_bot", "help"),
        ("/usr/bin full", None),
        ("/", None),
    ],
)
def test_commands_are_never_buffered(text: str, command: str | None) -> None:
    chat = conversation()
    received = receive(chat, text)
    assert received.command == command
    assert buffering.has_buffer(chat) is (command is None)
    assert fates(chat) == ({} if command is None else {0: Fate.SKIPPED})


def test_typing_postpones_never_past_the_deadline_and_never_flushes() -> None:
    chat = conversation()
    assert typing(chat, "typing") is None
    assert not buffering.has_buffer(chat), "typing alone opens no burst"
    with agent() as asked:
        say(chat, "so")
        for _ in range(11):
            let_pass(5)
            typing(chat, "typing")
            quiet(0)
        assert asked.bursts == [], "55 s and still writing"
        let_pass(4.5)
        typing(chat, "typing")
        quiet(1)
    assert asked.bursts == [["so"]], "the deadline of 60 s wins"
    turn = Turn.objects.get()
    assert turn.trigger == Trigger.MAX_WAIT
    assert turn.extended_by_typing >= 10


def test_a_sign_of_typing_that_costs_no_write_tells_the_open_burst_s_end_all_the_same() -> None:
    chat = conversation()
    say(chat, "so")
    extended = typing(chat, "typing")
    assert extended is not None
    assert typing(chat, "recording") == extended, "the second came too soon to move it"
    assert MessageBuffer.objects.get().extended_by_typing == 1


def test_overflow_by_number_forces_a_flush_and_drops_nothing(settings: object) -> None:
    settings.INTERVIEW_BUFFER_MAX_SIZE = 5  # type: ignore[attr-defined]
    chat = conversation()
    texts = [str(number) for number in range(23)]
    with agent() as asked:
        say(chat, *texts)
        quiet()
        quiet()
    assert [text for burst in asked.bursts for text in burst] == texts
    assert all(len(burst) <= 5 for burst in asked.bursts)
    assert Turn.objects.filter(trigger=Trigger.OVERFLOW).count() == 4


def test_overflow_by_size_never_cuts_a_message() -> None:
    chat = conversation()
    texts = ["a" * 20_000, "б" * 10_000, "c" * 100_000, "d"]
    with agent() as asked:
        say(chat, *texts)
        quiet()
        quiet()
    assert asked.bursts == [[texts[0]], [texts[1]], [texts[2]], [texts[3]]]


def test_with_buffering_off_each_message_is_a_turn_and_the_stale_draft_gate_works(settings: object) -> None:
    settings.INTERVIEW_BUFFER_ENABLED = False  # type: ignore[attr-defined]
    chat = conversation()
    with agent() as asked:
        say(chat, "one")
        quiet(0)
        assert replies(chat) == ["one"]
        asked.during = lambda request: say(chat, "three") if list(request.burst) == ["two"] else None  # type: ignore[assignment, return-value]
        say(chat, "two")
        quiet(0)
        quiet(0)
    assert replies(chat) == ["one", "two | three"]
    assert set(Turn.objects.values_list("trigger", flat=True)) == {Trigger.IMMEDIATE}


def test_a_long_text_split_by_the_client_is_one_burst_although_the_window_is_short(settings: object) -> None:
    settings.INTERVIEW_BUFFER_DEBOUNCE_TIMEOUT = 0.5  # type: ignore[attr-defined]
    chat = conversation()
    with agent() as asked:
        for part in ("a" * 4096, "b" * 4096, "c" * 808):
            say(chat, part)
            quiet(1.2)
        quiet(1)
    assert [len(burst) for burst in asked.bursts] == [3]


@pytest.mark.parametrize("metadata", [{"media_group_id": "7"}, {"forwarded": True}])
def test_what_the_client_sends_in_pieces_is_one_burst(settings: object, metadata: dict[str, object]) -> None:
    """An album and its caption, a forward and its comment."""
    settings.INTERVIEW_BUFFER_DEBOUNCE_TIMEOUT = 0.5  # type: ignore[attr-defined]
    chat = conversation()
    with agent() as asked:
        receive(chat, "[photo]", metadata=metadata)
        quiet(2)
        say(chat, "what do you think?")
        quiet(5)
    assert [len(burst) for burst in asked.bursts] == [2]


def test_an_edit_of_a_waiting_message_changes_the_input_and_both_texts_are_kept() -> None:
    chat = conversation()
    with agent() as asked:
        first, _second = say(chat, "I live in Pairs", "with my cat")
        corrected = corrections.correct(chat, first.entry.id, "I live in Paris")
        assert corrected.in_burst
        quiet()
    assert asked.bursts == [["I live in Paris", "with my cat"]]
    assert [entry.content for entry in log.history(chat)][:3] == ["I live in Pairs", "with my cat", "I live in Paris"]
    assert fates(chat) == {0: Fate.ANSWERED, 1: Fate.ANSWERED, 2: Fate.ANSWERED}


def test_an_edit_after_the_answer_is_recorded_and_asks_for_nothing() -> None:
    chat = conversation()
    with agent() as asked:
        (first,) = say(chat, "Pairs")
        quiet()
        assert not corrections.correct(chat, first.entry.id, "Paris").in_burst
        quiet()
    assert asked.bursts == [["Pairs"]]
    assert fates(chat) == {0: Fate.ANSWERED, 2: Fate.SKIPPED}


def test_a_waiting_message_that_is_taken_back_is_not_answered() -> None:
    chat = conversation()
    with agent() as asked:
        first, _second = say(chat, "secret", "hello")
        assert corrections.retract(chat, first.entry.id, by="user")
        assert not corrections.retract(chat, first.entry.id, by="user")
        quiet()
        (only,) = say(chat, "oops")
        corrections.retract(chat, only.entry.id, by="user")
        assert not buffering.has_buffer(chat)
        quiet()
    assert asked.bursts == [["hello"]]
    assert fates(chat) == {0: Fate.CLEARED, 1: Fate.ANSWERED, 3: Fate.CLEARED}


def test_takeover_leaves_what_waits_to_staff_and_their_era_is_context_afterwards() -> None:
    chat = conversation()
    with agent() as asked:
        say(chat, "before")
        takeover.take_over(chat, by="anna")
        say(chat, "to a human")
        takeover.reply(chat, "I am here", by="anna")
        quiet()
        assert asked.bursts == []
        takeover.hand_back(chat, by="anna")
        quiet()
        assert asked.bursts == [], "the backlog is no task"
        say(chat, "to the agent")
        quiet()
    assert asked.bursts == [["to the agent"]]
    assert [said.content for said in asked.asked[0].history] == ["before", "to a human", "I am here"]
    assert fates(chat) == {0: Fate.STAFF, 1: Fate.STAFF, 3: Fate.ANSWERED}


def test_takeover_during_the_run_sends_no_draft() -> None:
    chat = conversation()
    with agent(during=lambda _request: takeover.take_over(chat, by="anna")):
        say(chat, "help")
        quiet()
    assert replies(chat) == []
    turn = Turn.objects.get()
    assert (turn.status, turn.draft) == (TurnStatus.WITHDRAWN, "help")
    assert fates(chat) == {0: Fate.STAFF}


def test_clearing_takes_the_burst_and_the_running_turn_along() -> None:
    chat = conversation()
    with agent(during=lambda _request: log.clear(chat, by="user")):
        say(chat, "one")
        quiet()
    say(chat, "two")
    log.clear(chat, by="user")
    assert replies(chat) == []
    assert not buffering.has_buffer(chat)
    assert fates(chat) == {0: Fate.CLEARED, 1: Fate.CLEARED}


def test_a_repeated_update_changes_nothing() -> None:
    chat = conversation()
    first = receive(chat, "once", external_id="update-1")
    again = receive(chat, "once", external_id="update-1")
    assert again.entry.repeated
    assert (again.entry.id, again.flush_at) == (first.entry.id, first.flush_at)
    assert len(buffering.get_messages(chat)) == 1


def test_a_closed_conversation_takes_nothing_in() -> None:
    from conversations.models import Conversation

    chat = conversation()
    Conversation.objects.filter(pk=chat).update(mode=Mode.CLOSED)
    for text in ("hello", "/start"):
        with pytest.raises(ConversationClosedError):
            receive(chat, text)
    assert log.count(chat) == 0


def test_an_answer_to_an_earlier_question_is_filed_under_its_step_and_moves_nothing_back() -> None:
    from agents.outcomes import Replied
    from conversations.models import Conversation

    chat = conversation()
    with agent(answers=lambda request: Replied("ok", next_step=request.interview_step + 1)) as asked:
        say(chat, "first answer")
        quiet()
        receive(chat, "one more thing about that", interview_step=0)
        quiet()
    assert [(request.interview_step, request.late) for request in asked.asked] == [(0, False), (0, True)]
    assert Conversation.objects.get(pk=chat).interview_step == 1


def test_a_failing_agent_is_tried_again_with_growing_pauses_then_the_person_is_told_and_staff_may_retry() -> None:
    from agents.runtime import AgentError

    def broken(_request: object) -> None:
        raise AgentError("model away")

    chat = conversation()
    with agent(during=broken) as asked:
        say(chat, "hello")
        quiet()
        pauses = []
        for _ in range(4):
            turn = Turn.objects.get()
            assert turn.status == TurnStatus.WAITING
            pauses.append((turn.next_attempt_at - turn.updated_at).total_seconds())
            quiet(400)
        assert len(asked.asked) == 5
        assert pauses == sorted(pauses)
        turn = Turn.objects.get()
        assert (turn.status, turn.error) == (TurnStatus.FAILED, "AgentError: model away")
        assert fates(chat) == {0: Fate.FAILED}
        assert len(replies(chat)) == 1
        asked.during = None
        turns.retry(turn.id, by="anna")
        quiet()
    assert replies(chat)[-1] == "hello"
    assert fates(chat) == {0: Fate.ANSWERED}


def test_a_permanent_error_is_not_tried_again() -> None:
    from agents.runtime import AgentBrokenError

    def broken(_request: object) -> None:
        raise AgentBrokenError("no such model")

    chat = conversation()
    with agent(during=broken) as asked:
        say(chat, "hello")
        quiet()
        quiet(400)
    assert len(asked.asked) == 1
    assert Turn.objects.get().status == TurnStatus.FAILED


def test_an_agent_may_listen_longer_than_the_others() -> None:
    config = parse({"kind": "chat", "system_prompt": "Be patient.", "debounce": {"debounce": 20.0, "max_size": 3}})
    patient = registry.create("patient", "assistant.toml", by="test", config=config)
    chat, other = conversation(agent_id=patient.pk), conversation()
    with agent() as asked:
        say(chat, "slowly")
        say(other, "quickly")
        quiet(10)
        assert asked.bursts == [["quickly"]]
        quiet(11)
        assert asked.bursts == [["quickly"], ["slowly"]]
        say(chat, "1", "2", "3")
        quiet(0)
        assert asked.bursts[-1] == ["1", "2", "3"], "its own limit, too"
