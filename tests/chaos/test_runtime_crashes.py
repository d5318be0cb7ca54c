"""A worker dies between the model's answer and the settled turn: one question to the model, one reply."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from django.conf import settings
from django.db import connection

from agents.models import ToolCall
from conversations.models import Turn, TurnStatus
from tests.answering import an_agent
from tests.conversing import conversation, replies, say
from tests.fake_model_server import Say, model_server
from tests.patience import PATIENCE
from tests.processes import ROOT
from tests.time_travel import let_pass

pytestmark = pytest.mark.django_db(transaction=True)
RUN = """
import django; django.setup()
from config.queue import run_due, sweep
sweep()
run_due()
"""


def worker(url: str, **variables: str) -> int:
    """A process that does what is due, as a worker would; its exit code."""
    environment = {
        "PATH": os.environ["PATH"],
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "DATABASE_URL": _url(str(connection.settings_dict["NAME"])),
        "SECRET_KEY": settings.SECRET_KEY,
        "OPENAI_API_KEY": "key",
        "OPENAI_BASE_URL": url,
        "LLM_MODEL": "fake",
        **variables,
    }
    done = subprocess.run([sys.executable, "-c", RUN], cwd=ROOT, env=environment, check=False, timeout=PATIENCE)
    return done.returncode


def _url(name: str) -> str:
    """The server of this run, and the database of this test."""
    before, _, rest = os.environ["DATABASE_URL"].rpartition("/")
    _, mark, options = rest.partition("?")
    return f"{before}/{name}{mark}{options}"


def an_asked_turn(**config: Any) -> Any:
    agent = an_agent(model="default", **config)
    chat = conversation(agent_id=agent.pk)
    say(chat, "hello")
    let_pass(100)
    return chat


@pytest.mark.parametrize("point", ["after_llm", "before_commit"])
def test_killed_between_answer_and_settle_one_question_and_one_reply(point: str) -> None:
    with model_server() as server:
        server.script = [Say("Good day")]
        chat = an_asked_turn()
        assert worker(server.url, CRASH_AT=point) == 137
        assert Turn.objects.get().status == TurnStatus.RUNNING
        let_pass(1000)
        assert worker(server.url) == 0
    assert [text.strip() for text in replies(chat)] == ["Good day"]
    assert len(server.asked) == 1
    turn = Turn.objects.get()
    assert (turn.status, turn.attempts) == (TurnStatus.DONE, 2)
    assert turn.trace["asked_now"] == 0


def test_killed_after_a_tool_acted_it_acts_once() -> None:
    with model_server() as server:
        server.script = [Say(calls=(("now", {}),)), Say("It is late")]
        chat = an_asked_turn(tools=["now"])
        assert worker(server.url, CRASH_AT="after_tool") == 137
        first = ToolCall.objects.get()
        let_pass(1000)
        assert worker(server.url) == 0
    assert [text.strip() for text in replies(chat)] == ["It is late"]
    assert len(server.asked) == 2
    again = ToolCall.objects.get()
    assert (again.pk, again.result) == (first.pk, first.result)
