"""Checkpoints are seen, pruned without a change to what is kept, repaired, and forgotten with the conversation."""

from __future__ import annotations

import io
import subprocess
import sys
from typing import Any
from unittest.mock import patch

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client

from agents import checkpoints, forgetting, repair, runtime
from agents.models import ToolCall
from agents.tools import recall
from tests.answering import an_agent, asked
from tests.processes import ROOT

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def empty() -> None:
    """The saver's tables are not Django's to empty."""
    with connection.cursor() as cursor:
        for table in forgetting.TABLES:
            cursor.execute(f"DELETE FROM checkpoints.{table}")


def turns(number: int) -> list[str]:
    """Threads with a tool call each, so with several checkpoints."""
    agent, made = an_agent(tools=["now", "recall"]), []
    for n in range(number):
        request = asked(agent, f"question {n}")
        runtime.run(request)
        made.append(str(request.turn_id))
    return made


def age(thread: str, days: float) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE checkpoints.checkpoints SET checkpoint = jsonb_set(checkpoint, '{ts}',"
            " to_jsonb((checkpoint ->> 'ts')::timestamptz - %s * interval '1 day')) WHERE thread_id = %s",
            [days, thread],
        )


def counts() -> dict[str, int]:
    return {thread.id: thread.checkpoints for thread in checkpoints.threads()}


def test_pruning_deletes_the_old_and_keeps_the_state_of_every_other() -> None:
    old, resting, fresh = turns(3)
    age(old, 10)
    age(resting, 1)
    before = {thread: checkpoints.fingerprint(thread) for thread in (resting, fresh)}
    many = counts()
    assert checkpoints.prune(older_than_days=7, dry_run=True) == checkpoints.Pruned(1, 1)
    assert counts() == many, "a dry run changes nothing"
    assert checkpoints.prune(older_than_days=7) == checkpoints.Pruned(1, 1)
    assert counts() == {resting: 1, fresh: many[fresh]}
    assert {thread: checkpoints.fingerprint(thread) for thread in before} == before
    assert checkpoints.prune(older_than_days=7) == checkpoints.Pruned(0, 0)


def test_a_changed_state_does_not_go_unseen() -> None:
    (thread,) = turns(1)
    before = checkpoints.fingerprint(thread)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM checkpoints.checkpoint_blobs WHERE channel = 'messages'")
    assert checkpoints.fingerprint(thread) != before


def test_a_pruned_turn_is_still_gone_on_from() -> None:
    request = asked(an_agent(tools=["recall"]), "my flat")
    with patch("agents.guard.calls.perform", side_effect=MemoryError), pytest.raises(MemoryError):
        runtime.run(request)
    age(str(request.turn_id), 1)
    checkpoints.prune(older_than_days=7)
    outcome = runtime.run(request)
    assert outcome.trace["asked_now"] == 1, "the first answer is still there"


def test_a_wedged_thread_is_repaired_by_its_missing_results_alone() -> None:
    with patch.dict(recall.SOURCES, {"test": lambda *_args: []}, clear=True):
        request = asked(an_agent(tools=["recall"]), "my flat")
        with patch("agents.guard.calls.perform", side_effect=MemoryError), pytest.raises(MemoryError):
            runtime.run(request)
        turn = str(request.turn_id)
        assert repair.repair(turn, dry_run=True) == ["recall (call_1)"]
        assert repair.repair(turn) == ["recall (call_1)"]
        assert repair.repair(turn) == []
        outcome = runtime.run(request)
    assert [step["role"] for step in outcome.trace["steps"]] == ["assistant", "tool", "assistant"]
    assert not ToolCall.objects.exists()


def test_the_command_lists_prunes_and_says_what_it_would_do() -> None:
    old, kept = turns(2)
    age(old, 10)

    def said(*arguments: str) -> str:
        out = io.StringIO()
        call_command("checkpoints", *arguments, stdout=out)
        return out.getvalue()

    assert old in said()
    assert "1 threads would be deleted" in said("--prune", "--dry-run", "--older-than", "7")
    assert "1 threads deleted" in said("--prune", "--older-than", "7")
    assert set(counts()) == {kept}
    assert "Nothing to repair" in said("--repair", kept)


def test_what_is_kept_of_a_turn_is_forgotten_with_it() -> None:
    request = asked(an_agent(tools=["now"]), "x")
    with patch("agents.llm.scripted.ScriptedModel._chat", return_value=_calling_now()):
        runtime.run(request)
    assert ToolCall.objects.exists()
    gone = forgetting.forget_turns([request.conversation_id], {request.turn_id: request.conversation_id})
    assert gone[request.conversation_id] > 3
    assert not ToolCall.objects.exists()
    assert counts() == {}


def _calling_now() -> Any:
    from langchain_core.messages import AIMessage

    return AIMessage("", tool_calls=[{"name": "now", "args": {}, "id": "x"}])


def test_a_restart_of_the_database_between_two_turns_costs_no_attempt() -> None:
    """A connection that died at rest is not the next person's delay: theirs would wait for a second attempt."""
    turns(1)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert cursor.fetchall(), "the pool is at rest"
    assert len(turns(1)) == 1


def test_staff_see_threads_and_calls(admin_client: Client) -> None:
    (thread,) = turns(1)
    page = admin_client.get("/admin/agents/checkpointthread/")
    assert page.status_code == 200
    assert thread in page.content.decode()
    assert admin_client.get("/admin/agents/toolcall/").status_code == 200
    assert admin_client.get("/admin/agents/toolcall/add/").status_code == 403


def test_a_process_that_runs_no_turns_loads_none_of_it() -> None:
    code = (
        "import django, sys; django.setup(); import config.urls\n"
        "from django.contrib import admin; admin.autodiscover()\n"
        "from django.core.checks import run_checks; run_checks()\n"
        "print([name for name in ('langgraph', 'langchain_core', 'openai', 'langsmith') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, env=_env()
    )
    assert done.stdout.strip().splitlines()[-1] == "[]"


def _env() -> dict[str, str]:
    import os

    return {**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings", "EMBEDDINGS_PROVIDER": "local"}
