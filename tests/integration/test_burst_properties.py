"""What holds of every burst, whatever people write: properties with names, each over hundreds of examples."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from uuid import UUID

import pytest
from django.db import IntegrityError, transaction
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from config.queue import signing
from conversations import answering, buffering, burst, log, sessions
from conversations.buffering import ACTIVITIES, STOPPED, receive, typing
from conversations.errors import BlankMessageError
from conversations.models import MessageBuffer, Turn
from conversations.turns import Idle, Settled
from tests.conversing import agent, conversation, quiet, replies, say
from tests.patience import LONG
from tests.time_travel import let_pass

pytestmark = pytest.mark.django_db

often = settings(
    max_examples=1_000 if LONG else 200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
letters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")  # what the log can store
BLANK = st.characters(categories=["Cf", "Zl", "Zp", "Zs"]) | st.sampled_from("\t\n\r\x0b\x1f\u2800\u3164\uffa0")
AWKWARD = st.sampled_from(
    ["-", "--", ",", '"', "\\", "[", "]", "', '", '", "', "1, 2", "йё", "\u202e", "𝔘", "\x00", " "]
)


def sayable(text: str) -> bool:
    return not burst.is_blank(text) and burst.command_in(text) is None


texts = st.text(letters, min_size=1, max_size=40).filter(sayable)
ids = st.integers(-(2**63), 2**63 - 1) | st.lists(AWKWARD | st.text(max_size=5), max_size=4).map("".join)
keys = st.tuples(
    ids, st.uuids().map(str) | st.lists(AWKWARD, max_size=3).map("".join), st.integers(0, 9), st.integers(0)
)


@contextmanager
def taken_back() -> Iterator[None]:
    """Nothing of the example is left to the next."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


@often
@given(st.lists(texts, min_size=1, max_size=12))
def test_property_1_message_ordering_preservation(said: list[str]) -> None:
    with taken_back(), agent() as asked:
        chat = conversation()
        say(chat, *said)
        waiting = buffering.get_messages(chat)
        assert [message["content"] for message in waiting] == said
        assert [message["message_index"] for message in waiting] == list(range(len(said)))
        quiet()
        assert asked.bursts == [said]
        assert [entry.content for entry in log.history(chat)][: len(said)] == said


@often
@given(
    st.booleans(),
    st.lists(st.tuples(st.sampled_from([*ACTIVITIES, STOPPED]), st.floats(0, 20)), min_size=1, max_size=10),
)
def test_property_3_typing_event_non_flush(opened: bool, signs: list[tuple[str, float]]) -> None:
    with taken_back():
        chat = conversation()
        if opened:
            say(chat, "a")
        for activity, seconds in signs:
            let_pass(seconds)
            before = MessageBuffer.objects.filter(conversation_id=chat).first()
            typing(chat, activity)
            after = MessageBuffer.objects.filter(conversation_id=chat).first()
            assert (before is not None, after is not None) == (opened, opened)
            if before and after:
                assert before.flush_at <= after.flush_at <= after.deadline == before.deadline
                assert before.messages == after.messages
        assert not Turn.objects.filter(conversation_id=chat).exists()


@often
@given(st.lists(texts, min_size=1, max_size=5), st.lists(st.sampled_from(["flush", "answer", "worker"]), max_size=8))
def test_property_6_idempotent_flush_operations(said: list[str], again: list[str]) -> None:
    with taken_back(), agent() as asked:
        chat = conversation()
        say(chat, *said)
        let_pass(100)
        first = buffering.flush(chat, 0)
        assert isinstance(answering.answer(chat), Settled)
        result = list(Turn.objects.filter(conversation_id=chat).values())
        for act in again:
            match act:
                case "flush":
                    assert buffering.flush(chat, 0) is None
                case "answer":
                    assert answering.answer(chat) == Idle()
                case "worker":
                    quiet(0)
        assert asked.bursts == [said], "the model was called once"
        assert replies(chat) == [" | ".join(said)]
        assert list(Turn.objects.filter(conversation_id=chat).values()) == result
        turn = Turn.objects.get(pk=first)
        with pytest.raises(IntegrityError), transaction.atomic():
            Turn.objects.create(
                conversation_id=chat, interview_step=0, flush_id=turn.flush_id, trigger="debounce", input=turn.input
            )


@often
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), texts), min_size=1, max_size=12))
def test_property_7_buffer_isolation(said: list[tuple[int, int, str]]) -> None:
    """Two of the three conversations belong to one user."""
    with taken_back(), agent() as asked:
        chats = [sessions.open(user)[0].id for user in (71, 71, 72)]
        for chat, step, text in said:
            receive(chats[chat], text, interview_step=step)
        expected = {
            key: [text for _, _, text in group]
            for key, group in groupby(sorted(said, key=lambda each: each[:2]), key=lambda each: each[:2])
        }
        for (chat, step), waiting in expected.items():
            assert [message["content"] for message in buffering.get_messages(chats[chat], step)] == waiting
        assert MessageBuffer.objects.filter(conversation_id__in=chats).count() == len(expected)
        buffering.clear_buffer(chats[0], by="anna")
        assert not buffering.has_buffer(chats[0])
        quiet()
        answered = sorted(
            (chats.index(each.conversation_id), each.interview_step, list(each.burst)) for each in asked.asked
        )
        assert answered == sorted((chat, step, waiting) for (chat, step), waiting in expected.items() if chat)


@often
@given(st.lists(st.text(BLANK, max_size=10), min_size=1, max_size=5), st.booleans())
def test_property_8_empty_message_rejection(blanks: list[str], opened: bool) -> None:
    with taken_back():
        chat = conversation()
        if opened:
            say(chat, "a")
        before = list(MessageBuffer.objects.filter(conversation_id=chat).values())
        for blank in blanks:
            with pytest.raises(BlankMessageError):
                receive(chat, blank)
        assert list(MessageBuffer.objects.filter(conversation_id=chat).values()) == before
        assert log.count(chat) == opened


@often
@given(keys, keys)
def test_property_11_collision_free_key_generation(
    one: tuple[str, str, int, int], other: tuple[str, str, int, int]
) -> None:
    assert (burst.flush_id(*one) == burst.flush_id(*other)) == (one == other)
    assert burst.flush_id(*one) == burst.flush_id(*one), "deterministic"
    assert burst.parsed_flush_id(burst.flush_id(*one)) == one
    assert json.loads(burst.flush_id(*one)) == list(one)


@often
@given(st.lists(st.integers(0, 9) | st.text(max_size=4) | AWKWARD, max_size=4), st.data())
def test_property_11_holds_of_the_keys_of_tasks(one: list[object], data: st.DataObject) -> None:
    other = data.draw(st.permutations(one) | st.just([" ".join(map(str, one))]) | st.just([",".join(map(str, one))]))
    assume(one != other)
    assert signing.encode_key(one) != signing.encode_key(other)
    assert json.loads(signing.encode_key(one)) == one


@often
@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**31 - 1), st.integers(0, 3))
def test_property_11_the_database_and_python_name_a_burst_alike(user: int, step: int, before: int) -> None:
    with taken_back():
        chat = sessions.open(user)[0].id
        for _ in range(before):
            log.append(chat, "assistant", "hello")
        received = receive(chat, "a", interview_step=step)
        assert received.flush_id == burst.flush_id(user, str(chat), step, before)
        let_pass(100)
        buffering.flush(chat, step)
        assert burst.parsed_flush_id(Turn.objects.get(conversation_id=chat).flush_id) == (user, str(chat), step, before)


@often
@given(st.lists(st.tuples(texts, st.integers(0, 3)), min_size=1, max_size=8))
def test_repeated_updates_change_nothing_in_any_order(deliveries: list[tuple[str, int]]) -> None:
    """Each update comes again some deliveries later; what is stored and asked is as if it had come once."""
    with taken_back(), agent() as asked:
        chat = conversation()
        stored: list[UUID] = []
        for number, (text, back) in enumerate(deliveries):
            stored.append(receive(chat, text, external_id=str(number)).entry.id)
            earlier = max(0, number - back)
            again = receive(chat, deliveries[earlier][0], external_id=str(earlier)).entry
            assert (again.id, again.repeated) == (stored[earlier], True)
        quiet()
        assert asked.bursts == [[text for text, _ in deliveries]]
