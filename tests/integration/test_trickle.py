"""Somebody who never stops: a message, or a sign of typing, just before each quiet time is over."""

from __future__ import annotations

import time
from itertools import count

import pytest
from django.db import connection

from config.queue import run_due
from conversations import buffering
from conversations.buffering import FINEST_EXTENSION, typing
from conversations.models import MessageBuffer, Trigger, Turn
from tests import ledger
from tests.conversing import agent, conversation, quiet, say
from tests.patience import LONG
from tests.time_travel import let_pass

pytestmark = pytest.mark.django_db

WINDOW, MAX_WAIT = 4.0, 60.0  # seconds, the defaults
MINUTES = 10 if LONG else 4
EVENTS = 10_000 if LONG else 2_000


def test_a_message_at_each_four_fifths_of_the_window_is_answered_at_max_wait_in_order_with_nothing_dropped() -> None:
    chat = conversation()
    said = []
    with agent() as asked:
        for number in range(int(60 * MINUTES / (0.8 * WINDOW))):
            say(chat, str(number))
            said.append(str(number))
            let_pass(0.8 * WINDOW)
            run_due()
            for buffer in MessageBuffer.objects.filter(conversation_id=chat):
                assert buffer.flush_at <= buffer.deadline
        assert len(asked.asked) >= MINUTES - 1, "nobody is starved"
        assert set(Turn.objects.values_list("trigger", flat=True)) == {Trigger.MAX_WAIT}
        late = [turn.waited_ms / 1000 for turn in Turn.objects.all()]
        assert all(MAX_WAIT <= seconds <= MAX_WAIT + 0.8 * WINDOW + 1 for seconds in late), "as late as we looked"
        quiet()
    assert [text for burst in asked.bursts for text in burst] == said
    assert ledger.of_this_database().balance() == []


def test_typing_at_each_four_fifths_of_its_window_keeps_a_burst_open_until_max_wait_and_opens_none() -> None:
    chat = conversation()
    with agent() as asked:
        say(chat, "well")
        for passed in count(0.8 * 6, 0.8 * 6):
            if passed > 60 * MINUTES:
                break
            let_pass(0.8 * 6)
            typing(chat, "recording")
            run_due()
            assert buffering.has_buffer(chat) is (passed < MAX_WAIT)
    assert asked.bursts == [["well"]]
    assert Turn.objects.get().trigger == Trigger.MAX_WAIT


@pytest.mark.long
def test_thousands_of_keystrokes_cost_at_most_two_row_updates_a_second() -> None:
    chat = conversation()
    say(chat, "so")
    before, begun = updates(), time.monotonic()
    for _ in range(EVENTS):
        typing(chat, "typing")
    seconds = time.monotonic() - begun
    assert 1 <= updates() - before <= seconds / FINEST_EXTENSION + 1
    assert MessageBuffer.objects.get().extended_by_typing == updates() - before


def updates() -> int:
    """Rows of open bursts this transaction has updated."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_get_xact_tuples_updated('message_buffers'::regclass)")
        return int(cursor.fetchone()[0])
