"""A process dies in the middle, at any line; a fresh one goes on: one reply, one fate per message, nothing lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from uuid import UUID

import pytest
from django.conf import settings
from django.db import OperationalError, connection

from agents.outcomes import Outcome
from conversations import buffering, turns
from conversations.buffering import receive
from conversations.models import Fate, Message, Turn
from conversations.turns import Claimed
from tests import ledger
from tests.chaos.world import SEED
from tests.conversing import agent, conversation, fates, quiet, replies, say
from tests.patience import LONG
from tests.processes import ROOT
from tests.time_travel import let_pass

pytestmark = pytest.mark.django_db(transaction=True)

IN_THE_WORKER = [
    "in_seal", "after_seal", "after_claim", "before_llm", "after_llm", "before_commit", "in_settle", "after_commit",
]  # fmt: skip
LONGEST_LEASE = 700  # of a queued task whose whole machine died; a supervisor frees it at once
WORK = "import django; django.setup(); from config.queue import run_due; run_due()"
RECEIVE = """
import sys, uuid, django
django.setup()
from conversations.buffering import receive
receive(uuid.UUID(sys.argv[1]), sys.argv[2], external_id="a")
"""


def environment() -> dict[str, str]:
    """For a process that works on this test's database."""
    place = connection.settings_dict
    return {
        "DATABASE_URL": f"postgresql://{place['USER']}@/{place['NAME']}?host={place['HOST']}&port={place['PORT']}",
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "SECRET_KEY": settings.SECRET_KEY,
        "PATH": os.environ["PATH"],
        "LOG_LEVEL": "ERROR",
    }


def output_of(*command: str, exit_code: int = 0, **variables: str) -> str:
    done = subprocess.run(
        command, cwd=ROOT, env={**environment(), **variables}, capture_output=True, text=True, check=False
    )
    assert done.returncode == exit_code, done.stdout + done.stderr
    return done.stdout


@pytest.mark.long
@pytest.mark.parametrize(("scenario", "step"), [("answer", 29), ("receive", 3)])
def test_kill_9_at_each_line_leaves_nothing_lost_and_nothing_twice(scenario: str, step: int) -> None:
    """The short run dies at every so many-th line, the long one at each."""
    command = [sys.executable, "-m", "tests.chaos.dying", scenario, str(1 if LONG else step + SEED % 3)]
    deaths = [json.loads(line) for line in output_of(*command).splitlines() if line.startswith("{")]
    assert len(deaths) > (50 if LONG else 10)
    assert [death["died"] for death in deaths] == [True] * (len(deaths) - 1) + [False]
    if scenario == "receive":
        let_pass(100)
        quiet(0)
    books = ledger.of_this_database()
    assert books.balance() == []
    assert not books.waiting
    for death in deaths:
        chat = UUID(death["chat"])
        said = Message.objects.filter(conversation_id=chat, role="user").order_by("message_index")
        expected = ["a", "b", "c"] if scenario == "answer" else ["a", "b"]
        assert list(said.values_list("content", flat=True)) == expected, death
        if scenario == "receive":
            assert len(replies(chat)) == 1, death
        else:
            assert " | ".join(replies(chat)) == "a | b | c", death


@pytest.mark.parametrize("point", IN_THE_WORKER)
def test_a_crash_at_each_named_point_is_healed_by_a_fresh_worker(point: str) -> None:
    chat = conversation()
    say(chat, "a", "b")
    let_pass(100)
    output_of(sys.executable, "-c", WORK, exit_code=137, CRASH_AT=point)
    assert len(replies(chat)) == (point == "after_commit"), "as far as it came"
    everything_is_answered_once(chat)
    assert Turn.objects.get().attempts <= 2


def test_a_crash_between_a_message_and_its_burst_stores_neither_and_the_channel_repeats_it() -> None:
    chat, overflowing = conversation(), "a" * 33_000  # the others are one statement
    output_of(sys.executable, "-c", RECEIVE, str(chat), overflowing, exit_code=137, CRASH_AT="in_receive")
    assert not Message.objects.exists()
    assert not receive(chat, overflowing, external_id="a").entry.repeated
    everything_is_answered_once(chat)


def test_a_turn_that_kills_every_process_is_given_up_and_the_person_is_told() -> None:
    chat = conversation()
    say(chat, "poison")
    let_pass(100)
    buffering.flush(chat, 0)
    for _ in range(settings.INTERVIEW_TURN_ATTEMPTS):
        assert isinstance(turns.claim(chat), Claimed)  # and nobody ever hears of it again
        let_pass(100)
    with agent() as asked:
        quiet()
        quiet()
    assert asked.asked == []
    assert fates(chat) == {0: Fate.FAILED}
    assert len(replies(chat)) == 1
    assert Turn.objects.get().error


def test_an_outage_between_the_answer_and_its_commit_costs_no_second_call(monkeypatch: pytest.MonkeyPatch) -> None:
    chat = conversation()
    settle, outages = turns.settle, iter(["before the commit", "after the commit"])

    def cut_off(claimed: Claimed, outcome: Outcome) -> object:
        """The server goes away, once before it has the commit, and once before it can say so."""
        match next(outages, None):
            case "before the commit":
                raise OperationalError
            case "after the commit":
                settle(claimed, outcome)
                raise OperationalError
        return settle(claimed, outcome)

    monkeypatch.setattr(turns, "settle", cut_off)
    with agent() as asked:
        say(chat, "a")
        quiet()
        assert asked.bursts == [["a"]]
        everything_is_answered_once(chat)
        assert asked.bursts == [["a"]]


def everything_is_answered_once(chat: UUID) -> None:
    for _ in range(3):
        quiet(LONGEST_LEASE)
    assert len(replies(chat)) == 1
    books = ledger.of_this_database()
    assert books.balance() == []
    assert not books.waiting
