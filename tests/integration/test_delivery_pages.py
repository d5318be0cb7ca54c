"""The outbox in the admin: what did not surely arrive is found, decided by those who may, and put on record."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from agents.models import AuditEntry
from conversations import delivering, takeover
from conversations.delivering import deliver
from conversations.models import Delivery, Turn
from tests.conversing import agent, conversation, quiet, say
from tests.integration.test_transcript import XSS, Skeleton
from tests.integration.test_turn_pages import TALKS, act, may, page, story
from tests.paper_channel import Paper

DELIVERIES = "/admin/conversations/delivery/"
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def paper(monkeypatch: pytest.MonkeyPatch) -> Paper:
    one = Paper(limit=40)
    monkeypatch.setattr(delivering, "transport_of", lambda _channel: one)
    return one


def unknown(paper: Paper, text: str = "perhaps") -> Delivery:
    talk = conversation(channel="telegram", chat_id=5, title="About moving")
    takeover.reply(talk, text, by="anna")
    paper.faults.append("answer lost")
    deliver(talk)
    return Delivery.objects.get(conversation_id=talk, status="unknown")


def test_what_waits_for_a_decision_is_found_with_its_reason(staff: Client, paper: Paper) -> None:
    row = unknown(paper)
    fine = conversation(channel="telegram", chat_id=6, title="All is well")
    takeover.reply(fine, "hello", by="anna")
    deliver(fine)
    assert "All is well" in page(staff, DELIVERIES)
    text = page(staff, f"{DELIVERIES}?undecided=1")
    assert "About moving" in text
    assert "All is well" not in text
    assert "the connection broke" in text
    assert f'href="/admin/conversations/conversation/{row.conversation_id}/change/?at=0#m0"' in text


@pytest.mark.parametrize(
    ("action", "status", "says"),
    [
        ("resend", "pending", "1 part is being sent again."),
        ("arrived", "sent", "1 part counts as sent."),
        ("give_up", "failed", "1 part is given up."),
    ],
)
def test_staff_decide_and_it_is_on_record(staff: Client, paper: Paper, action: str, status: str, says: str) -> None:
    row = unknown(paper)
    detail = page(staff, f"{DELIVERIES}{row.pk}/change/")
    assert f'value="{action}"' in detail
    assert "perhaps" in detail
    assert says in act(staff, DELIVERIES, action, row.pk)
    row.refresh_from_db()
    assert row.status == status
    entry = AuditEntry.objects.get(action=f"delivery.{action}")
    assert (entry.actor, entry.details["was"]) == ("anna", "unknown")
    assert "perhaps" not in str(entry.details)
    if action != "resend":
        assert "Nothing was decided" in act(staff, DELIVERIES, "arrived", row.pk)


def test_only_those_who_may_see_and_decide(paper: Paper) -> None:
    row = unknown(paper)
    reader = may("view_delivery")
    assert 'value="resend"' not in page(reader, f"{DELIVERIES}{row.pk}/change/")
    act(reader, DELIVERIES, "resend", row.pk)
    row.refresh_from_db()
    assert row.status == "unknown"
    assert not AuditEntry.objects.filter(action__startswith="delivery").exists()
    stranger = Client()
    stranger.force_login(User.objects.create_user("carl", is_staff=True))
    assert stranger.get(DELIVERIES).status_code == 403
    assert stranger.get(f"{DELIVERIES}{row.pk}/change/").status_code == 403


def test_the_transcript_and_the_story_lead_to_it(staff: Client, paper: Paper) -> None:
    talk = conversation(channel="telegram", chat_id=5)
    with agent():
        say(talk, "hello")
        paper.faults.append("answer lost")
        quiet()
    row = Delivery.objects.get()
    way = f'href="{DELIVERIES}{row.pk}/change/"'
    assert way in page(staff, f"{TALKS}{talk}/change/")
    assert way in story(staff, Turn.objects.get())
    Delivery.objects.update(status="sent")
    assert way not in page(staff, f"{TALKS}{talk}/change/")


@pytest.mark.parametrize("path", ["nonsense", "00000000-0000-0000-0000-000000000000", "a\0b"])
def test_a_delivery_that_is_not_there_leads_home(staff: Client, path: str) -> None:
    assert staff.get(f"{DELIVERIES}{path}/change/").status_code in {302, 400, 404}


def test_texts_and_reasons_stay_text(staff: Client, paper: Paper) -> None:
    paper.limit = 4096
    row = unknown(paper, "harmless")
    everywhere = (DELIVERIES, f"{DELIVERIES}{row.pk}/change/", f"{TALKS}{row.conversation_id}/change/")
    Delivery.objects.update(error="harmless")
    expected = [Skeleton(staff.get(path).content.decode()).tags for path in everywhere]
    for text in XSS:
        Delivery.objects.update(error=text)
        assert [Skeleton(staff.get(path).content.decode()).tags for path in everywhere] == expected, text


def test_in_russian(staff: Client, paper: Paper, settings: Any) -> None:
    unknown(paper)
    text = page(staff, DELIVERIES, **{"Accept-Language": "ru"})
    assert "Доставки" in text or "доставки" in text
