"""The tuner counts what a person with a pencil would count."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from conversations import log, sessions, tuning
from tests.conversing import conversation, say
from tests.old_world import bring, file

PAGE = "/admin/conversations/conversation/tuner/"
ONE, OTHER = UUID(int=1), UUID(int=2)
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def test_a_pause_belongs_to_a_thought_unless_an_answer_was_read_in_it() -> None:
    said = [
        (ONE, True, at(0)), (ONE, True, at(2)), (ONE, False, at(6)), (ONE, True, at(7)),  # begun before the answer
        (ONE, False, at(12)), (ONE, True, at(20)),  # an answer to the answer
        (OTHER, True, at(1)),
    ]  # fmt: skip
    assert tuning.pauses(said) == [[2, 5, float("inf")], []]


def test_each_window_splits_the_thoughts_with_a_longer_pause() -> None:
    rows = {row.window: row for row in tuning.replay([[2, 5, float("inf"), 1], [40]], thought=30)}
    assert {window: (row.thoughts, row.split) for window, row in rows.items() if window in {1, 2, 4, 5}} == {
        1: (4, 1), 2: (4, 1), 4: (4, 1), 5: (4, 0),
    }  # fmt: skip
    assert tuning.suggested(list(rows.values())) == 5
    assert tuning.suggested(tuning.replay([], thought=30)) is None
    assert tuning.suggested(tuning.replay([[25]], thought=30)) is None  # no window is good enough


@given(st.lists(st.lists(st.floats(0, 200)), max_size=30), st.sampled_from(tuning.THOUGHTS))
def test_a_longer_window_never_splits_more(pauses: list[list[float]], thought: int) -> None:
    rows = tuning.replay(pauses, thought=thought)
    splits = [row.split for row in rows]
    assert splits == sorted(splits, reverse=True)
    assert {row.thoughts for row in rows} == {len(pauses) + sum(p > thought for own in pauses for p in own)}


@pytest.mark.django_db
def test_the_page_replays_what_was_said(admin_client: Client) -> None:
    assert "nothing to replay" in admin_client.get(PAGE).content.decode()
    talk = conversation()
    say(talk, "a", "b", "c")
    log.append(talk, "assistant", "d")
    page = admin_client.get(PAGE, {"thought": "60"}).content.decode()
    assert "3 messages of people replayed" in page
    assert "suggested" in page
    assert admin_client.get(PAGE, {"thought": "'; DROP"}).status_code == 200


@pytest.mark.django_db
def test_who_may_not_read_conversations_sees_no_tuner(client: Client) -> None:
    client.force_login(User.objects.create_user("bob", is_staff=True))
    assert client.get(PAGE).status_code == 403


@pytest.mark.django_db(transaction=True)
def test_only_messages_with_times_of_their_own_are_replayed(tmp_path: Path) -> None:
    """Times that an import had to invent, and those of staff who try an agent, say nothing about people."""
    ours = conversation()
    say(ours, "a", "b")
    for number, times in enumerate([[None, None], [NOON, NOON], [NOON, None], [NOON, at(3)]]):
        messages = [{"role": "user", "content": "x", **({"timestamp": str(t)} if t else {})} for t in times]
        bring(file(tmp_path, messages, name=f"{number}.json"))
    say(sessions.open(-1, channel="web")[0].pk, "staff", "tries")
    said = tuning.times()
    assert sorted(len([one for one in said if one[0] == talk]) for talk in {one[0] for one in said}) == [2, 2]
    assert [3.0] in tuning.pauses(said)
