"""Tools act once, with the end user's rights, within their limits, and never without a record."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch
from uuid import UUID, uuid4

import pytest
from django.db import connection

from agents import approvals, calls, schemas
from agents.approvals import NothingToDecideError
from agents.calls import Asked
from agents.models import AuditEntry, CallStatus, ToolCall
from agents.tools import TOOLS, Call, save_note, tool
from agents.tools.save_note import Store
from config.queue import run_due
from conversations import log, sessions
from tests.answering import an_agent, register, shipped
from tests.patience import PATIENCE

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def toolbox() -> Iterator[None]:
    """Tools declared by a test are gone after it."""
    shipped()
    with patch.dict(TOOLS), patch.object(save_note, "STORE", []):
        yield


def a_call(number: int = 1, **values: Any) -> Call:
    return Call(**{"turn_id": uuid4(), "number": number, "conversation_id": uuid4(), "user_id": 7, **values})


def perform(call: Call, name: str, arguments: dict[str, Any] | None = None, **columns: Any) -> str:
    register(name, **columns)
    agent = an_agent(tools=[name])
    return calls.perform(call, Asked(name, arguments or {}), calls.offered(agent, (name,)).get(name))


def noted(store: Store) -> None:
    save_note.register_store(store)


def a_message_of_theirs(_call: Call, title: str, _text: str) -> str:
    """An effect in the database that needs the user's own rights: a title of the user's own conversation."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE conversations SET title = %s RETURNING id", [title])
        return str(len(cursor.fetchall()))


def titles() -> dict[int, str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT user_id, title FROM conversations")
        return dict(cursor.fetchall())


def test_a_tool_sees_and_changes_the_rows_of_its_user_alone() -> None:
    for user in (7, 8, 9):
        sessions.open(user, title="old")
    noted(a_message_of_theirs)
    assert perform(a_call(), "save_note", {"title": "mine", "text": "x"}) == '{"saved": "1"}'
    assert titles() == {7: "mine", 8: "old", 9: "old"}


def test_what_the_user_may_not_do_is_refused_and_on_record() -> None:
    def forbidden(_call: Call, _title: str, _text: str) -> str:
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM audit_log")
        return "gone"

    noted(forbidden)
    assert perform(a_call(), "save_note", {"title": "a", "text": "b"}).startswith("Refused")
    assert ToolCall.objects.get().status == CallStatus.REFUSED
    entry = AuditEntry.objects.get(action="tool.refuse")
    assert (entry.status, entry.on_behalf_of) == ("refused", "user 7")


def test_a_call_happens_once_however_often_it_is_made() -> None:
    done: list[int] = []
    noted(lambda call, _title, _text: str(done.append(call.number)))
    call = a_call()
    texts = {perform(call, "save_note", {"title": "a", "text": "b"}) for _ in range(3)}
    assert len(texts) == 1
    assert done == [1]


def test_of_two_runners_at_once_one_has_an_effect() -> None:
    sessions.open(7, title="")
    both = threading.Barrier(2, timeout=PATIENCE)

    def append(_call: Call, title: str, _text: str) -> str:
        both.wait()
        with connection.cursor() as cursor:
            cursor.execute("UPDATE conversations SET title = title || %s", [title])
        return "ok"

    noted(append)
    register("save_note")
    call, agent = a_call(), an_agent(tools=["save_note"])
    offer = calls.offered(agent, ("save_note",))["save_note"]
    asked = Asked("save_note", {"title": "x", "text": "b"})
    runners = [threading.Thread(target=calls.perform, args=(call, asked, offer)) for _ in range(2)]
    for runner in runners:
        runner.start()
    for runner in runners:
        runner.join()
    assert titles() == {7: "x"}
    assert ToolCall.objects.get().status == CallStatus.DONE


def test_a_tool_that_takes_too_long_is_left_and_its_effect_taken_back() -> None:
    sessions.open(7, title="old")
    go_on, over = threading.Event(), threading.Event()

    def slow(call: Call, title: str, text: str) -> str:
        a_message_of_theirs(call, title, text)
        go_on.wait(PATIENCE)
        threading.Timer(0, over.set)
        return "late"

    noted(slow)
    slow_tool = TOOLS["save_note"].__class__
    known = TOOLS["save_note"]
    TOOLS["save_note"] = slow_tool(
        known.name, known.description, known.function, known.schema, 0.2, False, False, lambda: True
    )
    assert "longer than" in perform(a_call(), "save_note", {"title": "late", "text": "b"})
    waiting = [thread for thread in threading.enumerate() if thread.name == "tool"]
    go_on.set()
    for thread in waiting:
        thread.join(PATIENCE)
    assert titles() == {7: "old"}
    assert ToolCall.objects.get().status == CallStatus.FAILED


def test_a_tool_that_breaks_leaves_nothing_but_its_record() -> None:
    sessions.open(7, title="old")

    def breaks(call: Call, title: str, text: str) -> str:
        a_message_of_theirs(call, title, text)
        raise RuntimeError("the text of a person")

    noted(breaks)
    assert perform(a_call(), "save_note", {"title": "new", "text": "b"}) == "It failed: RuntimeError."
    assert titles() == {7: "old"}


@pytest.mark.parametrize(
    "arguments",
    [{}, {"title": 1, "text": "x"}, {"title": "", "text": "x"}, {"title": "a", "text": "b", "user_id": 8}, {"x": 1}],
)
def test_arguments_that_do_not_fit_never_reach_the_tool(arguments: dict[str, Any]) -> None:
    noted(lambda *_args: pytest.fail("called"))
    assert perform(a_call(), "save_note", arguments).startswith("The arguments do not fit")


def test_a_tool_that_is_switched_off_or_unknown_or_not_the_agents_is_refused() -> None:
    call = a_call()
    assert perform(call, "now", is_active=False).startswith("Refused")
    assert calls.perform(a_call(), Asked("os.system", {"command": "id"}), None).startswith("Refused")
    assert AuditEntry.objects.filter(action="tool.refuse").count() == 2


def test_a_row_that_names_other_code_offers_nothing() -> None:
    register("now", module_path="agents.tools.recall")
    assert calls.offered(an_agent(), ("now",)) == {}


def test_a_tool_that_acts_outside_is_not_repeated_where_nobody_knows() -> None:
    known = TOOLS["now"]
    sent: list[int] = []

    def send(call: Call) -> str:
        sent.append(call.number)
        raise SystemExit  # as if the process died after the letter was posted

    TOOLS["now"] = known.__class__("now", "", send, known.schema, 5, True, False, lambda: True)
    send.__module__ = known.module_path
    call = a_call()
    with pytest.raises(SystemExit):
        perform(call, "now")
    assert "not known" in perform(call, "now")
    assert sent == [1]


def high_impact(user: int = 7) -> ToolCall:
    """A call that waits, in a real conversation."""
    conversation = sessions.open(user, title="old")[0].id
    noted(a_message_of_theirs)
    told = perform(
        a_call(conversation_id=conversation, user_id=user), "save_note", {"title": "new", "text": "x"}, high_impact=True
    )
    assert "waits" in told
    return ToolCall.objects.get()


def said(conversation_id: UUID) -> list[str]:
    return [f"{entry.role}: {entry.content}" for entry in log.history(conversation_id)]


def test_a_high_impact_call_waits_and_is_done_once_when_approved() -> None:
    call = high_impact()
    assert titles() == {7: "old"}
    approvals.approve(call.pk, by="anna")
    with pytest.raises(NothingToDecideError):
        approvals.approve(call.pk, by="bert")
    with pytest.raises(NothingToDecideError):
        approvals.deny(call.pk, by="bert")
    run_due()
    approvals.carry_out(call.pk)
    assert titles() == {7: "new"}
    call.refresh_from_db()
    assert (call.status, call.decided_by) == (CallStatus.DONE, "anna")
    assert said(call.conversation_id) == [
        "assistant: Our staff approved what you asked for, and it is done.",
    ]
    assert AuditEntry.objects.filter(action="tool.approve", actor="anna").count() == 1


def test_a_denied_call_never_happens_and_the_person_hears_of_it() -> None:
    call = high_impact()
    approvals.deny(call.pk, by="anna")
    run_due()
    assert titles() == {7: "old"}
    assert said(call.conversation_id)[-1] == "assistant: Our staff did not approve what you asked for. It was not done."


def test_an_approval_nobody_signed_is_refused_by_the_database() -> None:
    from django.db import IntegrityError

    call = high_impact()
    with pytest.raises(IntegrityError, match="tool_calls_decision_signed"):
        ToolCall.objects.filter(pk=call.pk).update(status=CallStatus.APPROVED)


def test_every_shipped_tool_has_a_schema_the_registry_takes() -> None:
    for name in ("now", "recall", "save_note"):
        register(name)
        schemas.check(TOOLS[name].schema)
    with pytest.raises(ValueError, match="already"):
        tool("now", "", schema={})(lambda _call: None)
