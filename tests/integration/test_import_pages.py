"""Staff see what every import did, what it could not store, and take it back; only those who may."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from agents.models import AuditEntry
from config.queue import run_due
from conversations import log
from conversations.models import Conversation, ImportBatch, ImportReject, Message
from tests.old_world import bring, file, said

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def batch(transactional_db: None, tmp_path: Path) -> ImportBatch:
    messages = [{"role": "user", "content": "a"}, {"role": "<b>robot</b>", "content": "b"}]
    return bring(file(tmp_path, messages))


@pytest.fixture
def anna(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("anna"))
    return client


def reader(*codenames: str) -> Client:
    user = User.objects.create_user("reader", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client = Client()
    client.force_login(user)
    return client


def page(batch: ImportBatch) -> str:
    return reverse("admin:conversations_importbatch_change", args=[batch.pk])


def verb(batch: ImportBatch, name: str) -> str:
    return reverse(f"admin:conversations_importbatch_{name}", args=[batch.pk])


def test_the_page_tells_the_report_and_nothing_in_it_is_markup(anna: Client, batch: ImportBatch) -> None:
    text = anna.get(page(batch)).content.decode()
    for word in ("Messages read", "unknown role", "1 reject is open", "&lt;b&gt;robot"):
        assert word in text
    assert "<b>robot" not in text
    [talk] = Conversation.objects.all()
    assert reverse("admin:conversations_conversation_change", args=[talk.pk]) in text
    listed = anna.get(reverse("admin:conversations_importbatch_changelist"))
    assert "old.json" in listed.content.decode()
    anna.cookies["django_language"] = "ru"
    assert "unknown role" not in anna.get(page(batch)).content.decode()


def test_undo_is_done_by_the_worker_in_the_name_of_who_asked(anna: Client, batch: ImportBatch) -> None:
    asked = anna.post(verb(batch, "undo")).content.decode()
    assert "What it brought to 1 conversation is taken back" in asked
    assert "old.json" in asked
    run_due()
    assert Conversation.objects.count() == 1, "nobody has said yes"
    after = anna.post(verb(batch, "undo"), {"confirmed": "yes"}, follow=True).content.decode()
    assert "being undone" in after, "not the state before it"
    run_due()
    batch.refresh_from_db()
    assert (batch.status, batch.undone_by, Conversation.objects.count()) == ("undone", "anna", 0)
    assert AuditEntry.objects.filter(action="import.undo", actor="anna").count() == 2


def test_undo_asks_once_more_where_people_have_written_since(anna: Client, batch: ImportBatch) -> None:
    talk = Conversation.objects.get()
    log.append(talk.pk, "user", "since")
    asked = anna.post(verb(batch, "undo"))
    assert "Something was said since in 1 conversation" in asked.content.decode()
    run_due()
    assert said() == [("user", "a"), ("user", "since")]
    anna.post(verb(batch, "undo"), {"confirmed": "yes"})
    run_due()
    assert said() == [("user", "a"), ("user", "since")]
    anna.post(verb(batch, "undo"), {"confirmed": "yes", "force": "yes"})
    run_due()
    assert [entry.content for entry in log.history(talk.pk)] == ["since"]


def test_who_may_only_look_undoes_and_stores_nothing(batch: ImportBatch) -> None:
    looking = reader("view_importbatch", "view_importreject")
    assert looking.get(page(batch)).status_code == 200
    assert "Undo" not in looking.get(page(batch)).content.decode()
    for name in ("undo", "retry"):
        assert looking.post(verb(batch, name)).status_code == 403
    rejects = reverse("admin:conversations_importreject_changelist")
    looking.post(rejects, {"action": "store", "_selected_action": [str(ImportReject.objects.get().pk)]})
    assert ImportReject.objects.get().state == "open"
    stranger = Client()
    stranger.force_login(User.objects.create_user("stranger", is_staff=True))
    assert stranger.get(page(batch)).status_code == 403


def test_rejects_are_seen_and_dismissed_and_stay_where_they_cannot_be_stored(anna: Client, batch: ImportBatch) -> None:
    reject = ImportReject.objects.get()
    rejects = reverse("admin:conversations_importreject_changelist")
    listed = anna.get(rejects, {"batch__id__exact": str(batch.pk)}).content.decode()
    assert "message 1" in listed
    shown = anna.get(reverse("admin:conversations_importreject_change", args=[reject.pk])).content.decode()
    assert "&lt;b&gt;robot" in shown
    anna.post(rejects, {"action": "store", "_selected_action": [str(reject.pk)]})
    reject.refresh_from_db()
    assert reject.state == "open"
    anna.post(rejects, {"action": "dismiss", "_selected_action": [str(reject.pk)]})
    reject.refresh_from_db()
    assert reject.state == "dismissed"
    assert AuditEntry.objects.filter(action="import.dismiss").exists()


def test_a_duplicate_that_staff_want_is_stored_beside_the_first(anna: Client, tmp_path: Path) -> None:
    batch = bring(file(tmp_path, [{"id": 1, "role": "user", "content": text} for text in "ab"]))
    anna.post(verb(batch, "retry"))
    run_due()
    assert said() == [("user", "a"), ("user", "b")]
    assert ImportReject.objects.get().state == "stored"


def test_a_transcript_marks_what_was_imported(anna: Client, batch: ImportBatch) -> None:
    talk: Any = Conversation.objects.get()
    log.append(talk.pk, "user", "said here")
    text = anna.get(reverse("admin:conversations_conversation_change", args=[talk.pk])).content.decode()
    assert text.count(page(batch)) == 1
    assert Message.objects.filter(import_id=batch.pk).count() == 1
