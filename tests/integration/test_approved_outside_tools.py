"""An approved tool that acts on another server does so at most once, whatever dies and however slow the server is."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest.mock import patch
from urllib.request import urlopen
from uuid import uuid4

import httpx
import pytest
from django.db import connection
from django.test import Client, override_settings

from agents import allowlist, approvals, calls
from agents.approvals import NothingToDecideError
from agents.calls import Asked
from agents.models import AuditEntry, CallStatus, ToolCall
from agents.models import Tool as Row
from agents.tasks import give_up_lost_calls, wake_approved_calls
from agents.tools import TOOLS, Call, NotDone, Tool
from config import rls
from config.columns import clock
from config.queue import run_due
from conversations import log, sessions
from tests.answering import an_agent, shipped
from tests.conversing import agent, quiet, say
from tests.integration.test_crashes import environment
from tests.patience import PATIENCE
from tests.processes import ROOT, eventually
from tests.racing import WAITING_FOR_A_LOCK

pytestmark = pytest.mark.django_db(transaction=True)

PACKAGE = "tests.outside_tools"
CARRY_OUT = """
import sys, uuid, django
django.setup()
from agents import approvals
approvals.carry_out(uuid.UUID(sys.argv[1]))
"""


@dataclass
class Refunds:
    """The other server: each refund it paid, and a gate that keeps its answers back."""

    url: str = ""
    paid: list[str] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    answers: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def refunds() -> Iterator[Refunds]:
    service = Refunds()
    service.answers.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            service.paid.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            service.keys.append(self.headers["Idempotency-Key"])
            service.answers.wait(PATIENCE)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"paid")

        def log_message(self, *_args: object) -> None:
            """Nothing on the screen."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        service.url = f"http://127.0.0.1:{server.server_port}/"
        shipped()
        sys.modules.pop(f"{PACKAGE}.refund", None)  # declared anew in each test
        packages = override_settings(AGENT_TOOL_PACKAGES=["agents.tools", PACKAGE])
        with patch.dict(os.environ, REFUNDS=service.url), patch.dict(TOOLS), packages:
            yield service
        service.answers.set()
        server.shutdown()


def a_call(name: str = "refund", **columns: object) -> ToolCall:
    """A call that waits for its approval, in a conversation."""
    Row.objects.create(name=name, module_path=f"{PACKAGE}.refund", schema={"type": "object"}, is_active=True)
    conversation = sessions.open(7)[0].id
    return ToolCall.objects.create(
        turn_id=uuid4(), number=1, conversation_id=conversation, user_id=7, tool=name, arguments={"order": "A-1"},
        status=CallStatus.WAITING, **columns,
    )  # fmt: skip


def approved(name: str = "refund") -> ToolCall:
    call = a_call(name)
    approvals.approve(call.pk, by="anna")
    return call


def state(call: ToolCall) -> str:
    call.refresh_from_db()
    return call.status


def much_later() -> None:
    ToolCall.objects.update(updated_at=clock() - timedelta(hours=1), decided_at=clock() - timedelta(hours=1))


def all_that_wakes(call: ToolCall) -> None:
    """Whatever could begin the call again, an hour later."""
    much_later()
    wake_approved_calls()
    run_due()
    approvals.carry_out(call.pk)
    give_up_lost_calls()


@pytest.mark.parametrize("name", ["refund", "refund_async"])
def test_an_approved_call_is_made_once_and_its_end_recorded(refunds: Refunds, name: str) -> None:
    call = approved(name)
    run_due()
    all_that_wakes(call)
    assert (refunds.paid, state(call), call.result) == (["A-1"], CallStatus.DONE, "paid")
    assert refunds.keys == [Call(call.turn_id, 1, call.conversation_id, 7).idempotency_key]
    assert [entry.content for entry in log.history(call.conversation_id)] == [
        "Our staff approved what you asked for, and it is done."
    ]


@pytest.mark.parametrize(
    ("point", "paid"), [("after_approved_start", []), ("after_approved_effect", ["A-1"]), ("in_flight", ["A-1"])]
)
def test_a_worker_killed_at_any_point_makes_no_second_call(refunds: Refunds, point: str, paid: list[str]) -> None:
    call = approved()
    refunds.answers.clear() if point == "in_flight" else None
    variables = {**environment(), "CRASH_AT": point, "REFUNDS": refunds.url}
    variables["AGENT_TOOL_PACKAGES"] = f"agents.tools,{PACKAGE}"
    worker = subprocess.Popen([sys.executable, "-c", CARRY_OUT, str(call.pk)], cwd=ROOT, env=variables)
    if point == "in_flight":
        eventually(lambda: refunds.paid, "the call to arrive")
        worker.kill()
    assert worker.wait(PATIENCE) in (137, -9)
    assert state(call) == CallStatus.STARTED
    all_that_wakes(call)
    all_that_wakes(call)
    assert (refunds.paid, state(call)) == (paid, CallStatus.UNKNOWN)
    assert "not known" in log.history(call.conversation_id)[-1].content


def test_a_server_slower_than_the_timeout_is_asked_once(refunds: Refunds) -> None:
    refunds.answers.clear()
    call = approved()
    with patch.object(calls, "outside", side_effect=calls.outside) as outside:
        tool = TOOLS.get("refund") or calls.code_of(Row.objects.get(name="refund"))
        assert tool is not None
        object.__setattr__(tool, "timeout", 0.3)
        try:
            run_due()
            all_that_wakes(call)
        finally:
            object.__setattr__(tool, "timeout", 5)
    assert outside.call_count == 1
    assert (refunds.paid, state(call)) == (["A-1"], CallStatus.UNKNOWN)


def test_two_workers_at_once_make_one_call(refunds: Refunds) -> None:
    refunds.answers.clear()
    call = approved()
    both = threading.Barrier(2, timeout=PATIENCE)

    def work() -> None:
        try:
            both.wait()
            approvals.carry_out(call.pk)
        finally:
            connection.close()

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    eventually(lambda: refunds.paid, "the call to arrive")
    refunds.answers.set()
    for worker in workers:
        worker.join()
    assert (refunds.paid, state(call)) == (["A-1"], CallStatus.DONE)


def test_no_transaction_is_open_while_the_other_server_thinks(refunds: Refunds) -> None:
    refunds.answers.clear()
    call = approved()
    worker = threading.Thread(target=lambda: (approvals.carry_out(call.pk), connection.close()))
    worker.start()
    eventually(lambda: refunds.paid, "the call to arrive")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%%'"
        )
        assert cursor.fetchone() == (0,)
    refunds.answers.set()
    worker.join()
    assert state(call) == CallStatus.DONE


def test_the_tool_has_the_rights_of_its_user_alone(refunds: Refunds) -> None:
    def whose(_call: Call, order: str) -> str:
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_user, current_setting('parley.user_id'), count(*) FROM conversations")
            return str(cursor.fetchone())

    sessions.open(8)
    call = approved()
    tool = calls.code_of(Row.objects.get(name="refund"))
    assert tool is not None
    whose.__module__ = f"{PACKAGE}.refund"
    with patch.dict(TOOLS, refund=type(tool)("refund", "", whose, tool.schema, 5, True, True, lambda: True)):
        run_due()
    assert state(call) == CallStatus.DONE
    assert call.result == "('parley_client', '7', 1)"
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        assert cursor.fetchone() != ("parley_client",)


def test_an_error_before_the_server_was_reached_is_a_failure(refunds: Refunds) -> None:
    call = approved()
    with patch.dict(os.environ, REFUNDS="http://127.0.0.1:1/"):
        run_due()
    assert state(call) == CallStatus.FAILED
    assert refunds.paid == []


ANSWERS = {
    "dropped": b"",
    "cut": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
    "gateway": b"HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 0\r\n\r\n",
    "no JSON": b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npaid",
}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # urllib leaves a broken socket open
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("library", ["urllib", "httpx"])
def test_any_error_after_the_request_was_sent_is_not_known(answer: bytes, library: str) -> None:
    def ask(url: str) -> object:
        if library == "httpx":
            return httpx.post(url, content="x", trust_env=False).raise_for_status().json()
        with urlopen(url, b"x", timeout=PATIENCE) as reply:
            return json.loads(reply.read())

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection_, _address = listener.accept()
            with connection_:
                connection_.recv(65_536)
                connection_.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        with pytest.raises(Exception) as caught:  # noqa: PT011  whatever the library makes of it
            ask(f"http://127.0.0.1:{listener.getsockname()[1]}/")
    assert calls.is_lost(caught.value)


@pytest.mark.parametrize("library", ["urllib", "httpx"])
def test_a_server_that_refuses_the_connection_did_nothing(library: str) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        httpx.post("http://127.0.0.1:1/", trust_env=False) if library == "httpx" else urlopen(
            "http://127.0.0.1:1/", b"x"
        )
    assert not calls.is_lost(caught.value)
    assert not calls.is_lost(NotDone("The order is unknown."))


def test_two_workers_at_once_have_one_effect_in_the_database() -> None:
    effects: list[int] = []
    first, go_on = threading.Event(), threading.Event()

    def note(_call: Call, order: str) -> str:
        effects.append(1)
        first.set()
        go_on.wait(PATIENCE if len(effects) == 1 else 0)
        return "noted"

    tool = Tool("note", "", note, {"type": "object"}, 30, False, True, lambda: True)
    call = a_call("note")
    with patch.object(approvals, "_tool_of", lambda _call: tool):
        approvals.approve(call.pk, by="anna")

        def work() -> None:
            try:
                approvals.carry_out(call.pk)
            finally:
                connection.close()

        workers = [threading.Thread(target=work) for _ in range(2)]
        workers[0].start()
        assert first.wait(PATIENCE)
        workers[1].start()
        eventually(lambda: len(effects) > 1 or _waits_for_a_lock(), "the second worker is at the row")
        go_on.set()
        for worker in workers:
            worker.join()
    assert effects == [1]
    assert state(call) == CallStatus.DONE


def _waits_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(WAITING_FOR_A_LOCK)
        return cursor.fetchone() is not None


def test_the_result_of_another_conversations_call_is_not_shown(refunds: Refunds) -> None:
    theirs = approved()
    run_due()
    own = sessions.open(9)[0].id
    log.append(own, "assistant", "x", metadata={"tool_call": str(theirs.pk)})
    with agent() as one:
        say(own, "what was it?")
        quiet()
    assert [said.content for said in one.asked[0].history] == ["x"]


def test_where_users_cannot_be_kept_apart_an_approved_call_fails_in_words(refunds: Refunds) -> None:
    call = approved()
    with patch.object(rls, "available", return_value=False):
        run_due()
    assert (refunds.paid, state(call)) == ([], CallStatus.FAILED)
    assert "but it failed" in log.history(call.conversation_id)[-1].content


@pytest.mark.parametrize(("decision", "status"), [("happened", CallStatus.DONE), ("not_happened", CallStatus.FAILED)])
def test_staff_say_what_became_of_it(admin_client: Client, decision: str, status: CallStatus) -> None:
    call = a_call(decided_by="anna", decided_at=clock())
    ToolCall.objects.update(status=CallStatus.UNKNOWN)
    address = f"/admin/agents/toolcall/{call.pk}/"
    assert b"It did not happen" in admin_client.get(f"{address}change/").content
    admin_client.post(f"{address}decide/", {"decision": decision})
    assert state(call) == status
    assert AuditEntry.objects.filter(action="tool.settle", actor="admin").count() == 1
    with pytest.raises(NothingToDecideError):
        approvals.settle(call.pk, happened=True, by="bert")


def test_the_agent_reads_the_result_in_its_next_turn(refunds: Refunds) -> None:
    call = approved()
    run_due()
    with agent() as one:
        say(call.conversation_id, "and?")
        quiet()
    assert [said.content for said in one.asked[0].history][-1] == "refund (done): paid"


def test_a_module_that_cannot_be_imported_costs_nobody_else(refunds: Refunds) -> None:
    Row.objects.create(name="broken", module_path=f"{PACKAGE}.not_importable", schema={"type": "object"})
    a_call()
    own = an_agent()
    assert list(calls.offered(own, ("broken", "refund"))) == ["refund"]


def test_a_call_within_a_turn_is_on_record_before_it_is_made(refunds: Refunds) -> None:
    a_call()
    offer = calls.offered(an_agent(), ("refund",))["refund"]
    call = Call(uuid4(), 1, uuid4(), 7)
    refunds.answers.clear()
    worker = threading.Thread(
        target=lambda: calls._outside(call, Asked("refund", {"order": "B-2"}), offer) and connection.close()
    )
    worker.start()
    eventually(lambda: refunds.paid, "the call to arrive")
    assert ToolCall.objects.get(turn_id=call.turn_id).status == CallStatus.STARTED
    assert "not known" in calls._perform(call, Asked("refund", {"order": "B-2"}), offer, 0, "")
    refunds.answers.set()
    worker.join()
    assert refunds.paid == ["B-2"]
    assert ToolCall.objects.get(turn_id=call.turn_id).status == CallStatus.DONE


def test_the_packages_of_this_test_are_on_the_list(refunds: Refunds) -> None:
    assert f"{PACKAGE}.refund" in allowlist.modules()
