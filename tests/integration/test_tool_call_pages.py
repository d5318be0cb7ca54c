"""Staff see what a model asked for, go to what was said, and decide with the arguments in sight."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from agents.models import AuditEntry, CallStatus, ToolCall
from conversations import log, sessions

pytestmark = pytest.mark.django_db

CALLS = "/admin/agents/toolcall/"
NASTY = "<script>alert(1)</script>\u202e"


def a_call(status: CallStatus = CallStatus.WAITING, **values: Any) -> ToolCall:
    known = {"turn_id": uuid4(), "number": 1, "conversation_id": uuid4(), "user_id": 7, "tool": "now", "arguments": {}}
    return ToolCall.objects.create(status=status, **{**known, **values})


def test_a_call_leads_to_the_sentence_the_turn_and_the_conversation(staff: Client) -> None:
    talk = sessions.open(7)[0].id
    message = log.append(talk, "user", "do it")
    call = a_call(conversation_id=talk, message_id=message.id)
    text = staff.get(f"{CALLS}{call.pk}/change/").content.decode()
    for place in (f"said/{message.id}/", f"/turn/{call.turn_id}/change/", f"/conversation/{talk}/change/"):
        assert place in text
    assert staff.get(f"/admin/conversations/conversation/said/{message.id}/")["Location"].endswith("#m0")


def test_whatever_a_model_wrote_stays_text(staff: Client) -> None:
    call = a_call(tool=NASTY, arguments={NASTY: [NASTY, {"a": 1}]}, result=f"{NASTY}\n  two", agent=NASTY)
    for path in (CALLS, f"{CALLS}{call.pk}/change/"):
        text = staff.get(path).content.decode()
        assert "<script>alert" not in text
        assert "&lt;script&gt;alert(1)" in text
        assert "⟨U+202E⟩" in text
    assert "\n  two" in text
    assert "waits for approval" in text
    assert "(&#x27;waiting" not in text


@pytest.mark.parametrize(("decision", "status"), [("approve", CallStatus.APPROVED), ("deny", CallStatus.DENIED)])
def test_a_waiting_call_is_decided_on_its_page_and_once(staff: Client, decision: str, status: CallStatus) -> None:
    call = a_call()
    page = f"{CALLS}{call.pk}/change/"
    assert 'name="decision"' in staff.get(page).content.decode()
    said = staff.post(f"{CALLS}{call.pk}/decide/", {"decision": decision}, follow=True).content.decode()
    assert "Decided: 1." in said
    assert 'name="decision"' not in said
    call.refresh_from_db()
    assert (call.status, call.decided_by) == (status, "anna")
    again = staff.post(f"{CALLS}{call.pk}/decide/", {"decision": "approve"}, follow=True).content.decode()
    assert "left alone: 1" in again
    assert AuditEntry.objects.filter(action=f"tool.{decision}", actor="anna").count() == 1


def test_nothing_else_can_be_decided_and_not_by_everybody(staff: Client) -> None:
    call = a_call()
    assert staff.get(f"{CALLS}{call.pk}/decide/").status_code == 405
    assert staff.post(f"{CALLS}{call.pk}/decide/", {"decision": "drop"}).status_code == 404
    assert staff.post(f"{CALLS}{uuid4()}/decide/", {"decision": "deny"}).status_code == 404
    guest = User.objects.create_user("guest", is_staff=True)
    guest.user_permissions.add(Permission.objects.get(codename="view_toolcall"))
    client = Client()
    client.force_login(guest)
    assert 'name="decision"' not in client.get(f"{CALLS}{call.pk}/change/").content.decode()
    assert client.post(f"{CALLS}{call.pk}/decide/", {"decision": "approve"}).status_code == 403
    call.refresh_from_db()
    assert call.status == CallStatus.WAITING


@pytest.mark.parametrize("query", ["q=x", "q=%00", "tool=x", "status__exact=x", "created_at_from=x", "p=-1"])
def test_the_list_answers_whatever_is_asked(staff: Client, query: str) -> None:
    a_call()
    assert staff.get(f"{CALLS}?{query}").status_code in {200, 302}
    assert staff.get(f"/admin/agents/checkpointthread/?{query}").status_code in {200, 302}
