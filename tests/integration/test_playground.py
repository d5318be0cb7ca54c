"""Staff play a person: what the page takes, from whom, and what it refuses."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from agents import registry
from conversations import buffering, sessions
from conversations.admin.playground import person
from conversations.models import Conversation, Message, Mode
from tests.conversing import quiet, replies

pytestmark = pytest.mark.django_db(transaction=True)
PAGE = "/admin/conversations/conversation/playground/"
LINES = ["Hi", "I moved to Lisbon", "with two cats", "and a piano", "it was hard"]


@pytest.fixture
def staff() -> User:
    registry.sync(by="test")
    user = User.objects.create_user("anna", password="x", is_staff=True)
    names = ["view_conversation", "change_conversation"]
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    return user


@pytest.fixture
def anna(staff: User) -> Client:
    client = Client()
    client.force_login(staff)
    return client


def begun(client: Client) -> UUID:
    agent = registry.find("relocation")
    answer = client.post(PAGE, {"agent": agent.pk})
    assert answer.status_code == 302
    return Conversation.objects.get(channel="web").pk


def at(name: str, conversation: UUID) -> str:
    return reverse(f"admin:conversations_conversation_{name}", args=[conversation])


def said(client: Client, conversation: UUID, text: str, **more: str) -> Any:
    return client.post(at("say", conversation), {"content": text, **more}, headers={"Accept": "application/json"})


def test_five_quick_lines_get_one_answer(anna: Client) -> None:
    conversation = begun(anna)
    assert [said(anna, conversation, line).status_code for line in LINES] == [202] * 5
    assert len(buffering.get_messages(conversation)) == 5
    quiet()
    assert len(replies(conversation)) == 1


def test_a_line_that_is_sent_twice_is_stored_once(anna: Client) -> None:
    conversation = begun(anna)
    assert {said(anna, conversation, "Hi", token="web-1").status_code for _ in range(3)} == {202}
    assert Message.objects.count() == 1


@pytest.mark.parametrize("text", ["", "   ", "\u200b", "a\0b", "x" * 32_001])
def test_what_cannot_be_said_is_refused_and_nothing_is_stored(anna: Client, text: str) -> None:
    conversation = begun(anna)
    answer = said(anna, conversation, text)
    assert (answer.status_code, bool(answer.json()["error"])) == (400, True)
    assert anna.post(at("say", conversation), {"content": text}).status_code == 302  # without the script: a message
    assert not Message.objects.exists()
    assert said(anna, conversation, "good").status_code == 202


def test_nobody_writes_as_another_ones_person(anna: Client, admin_client: Client) -> None:
    conversation = begun(anna)
    outside, _new = sessions.open(42, channel="web")
    assert said(admin_client, conversation, "Hi").status_code == 403
    assert said(anna, outside.pk, "Hi").status_code == 403
    assert admin_client.post(at("typing", conversation)).status_code == 403
    assert not Message.objects.exists()


def test_a_closed_conversation_is_over(anna: Client) -> None:
    conversation = begun(anna)
    Conversation.objects.filter(pk=conversation).update(mode=Mode.CLOSED)
    assert said(anna, conversation, "Hi").status_code == 404


def test_without_the_right_to_act_there_is_no_playground(staff: User, anna: Client) -> None:
    staff.user_permissions.clear()
    assert anna.get(PAGE).status_code == 403
    assert anna.post(PAGE, {"agent": registry.find("relocation").pk}).status_code == 403


def test_the_page_lists_agents_and_where_one_left_off(anna: Client, rf: Any, staff: User) -> None:
    conversation = begun(anna)
    page = anna.get(PAGE).content.decode()
    assert "relocation" in page
    assert str(conversation) in page
    request = rf.get(PAGE)
    request.user = staff
    assert person(request) < 0


def test_an_agent_that_is_unknown_begins_nothing(anna: Client) -> None:
    assert anna.post(PAGE, {"agent": "nonsense"}).status_code == 200
    assert not Conversation.objects.exists()
