"""What leaves as a file comes back the same; a spreadsheet computes nothing of it; who took it is on record."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.models import AuditEntry
from conversations import log, sessions
from conversations.buffering import receive
from conversations.legacy import export, verifying
from conversations.models import Conversation, Message, MessageBuffer
from tests.old_world import bring

pytestmark = pytest.mark.django_db(transaction=True)


def a_talk(*texts: str, user: int = 1, **columns: Any) -> Any:
    talk = sessions.open(user, **columns)[0].pk
    log.append_many(talk, [{"role": "user", "content": text, "metadata": {"n": n}} for n, text in enumerate(texts)])
    return talk


def test_exported_and_imported_again_it_has_the_same_checksums(tmp_path: Path) -> None:
    talks = [a_talk("a", "b\n\\N\t", "", "\u2028😀", title="One"), a_talk(), a_talk("c", chat_id=5, channel="telegram")]
    log.clear(talks[2], by="anna")
    log.append(talks[2], "assistant", "after", external_id="x-1", author="boris")
    path = tmp_path / "all.jsonl"
    call_command("export_conversations", str(path), stdout=io.StringIO())
    batch = bring(path)
    assert (batch.kind, batch.status, batch.brought) == ("parley", "done", 6)
    for before in talks:
        copy = Conversation.objects.get(metadata__import__key=str(before))
        assert verifying.checksum(copy.pk) == verifying.checksum(before)
        names = ("message_index", "role", "content", "metadata", "author", "created_at", "deleted_at")
        messages = Message.objects.order_by("message_index").values_list(*names)
        assert list(messages.filter(conversation=copy)) == list(messages.filter(conversation=before))
        original = Conversation.objects.get(pk=before)
        assert (copy.title, copy.user_id, copy.deleted_count) == (
            original.title,
            original.user_id,
            original.deleted_count,
        )
    assert bring(path).brought == 0


def test_what_waits_for_an_answer_waits_where_it_is_imported(tmp_path: Path) -> None:
    talk = sessions.open(1)[0].pk
    receive(talk, "hello", question_context="who are you?")
    path = tmp_path / "one.jsonl"
    call_command("export_conversations", str(path), conversation=[talk], stdout=io.StringIO())
    bring(path)
    copy = MessageBuffer.objects.exclude(conversation=talk).get()
    assert [(message["content"], message["question_context"]) for message in copy.messages] == [
        ("hello", "who are you?")
    ]


def test_a_spreadsheet_computes_nothing(tmp_path: Path) -> None:
    a_talk("=1+1", "  @SUM(A1)", "plain", "-5", title="=cmd()")
    path = tmp_path / "all.csv"
    call_command("export_conversations", str(path), stdout=io.StringIO())
    rows = list(csv.DictReader(io.StringIO(path.read_text(), newline="")))
    assert [row["content"] for row in rows] == ["'=1+1", "'  @SUM(A1)", "plain", "'-5"]
    assert {row["title"] for row in rows} == {"'=cmd()"}
    told = AuditEntry.objects.get(action="conversation.export").details
    assert told == {"format": "csv", "conversations": 1}


def test_a_file_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "there.jsonl").write_text("mine")
    with pytest.raises(CommandError, match="exists"):
        call_command("export_conversations", str(tmp_path / "there.jsonl"))


def test_staff_export_what_they_choose(client: Client) -> None:
    client.force_login(User.objects.create_superuser("anna"))
    chosen, _other = a_talk("mine", user=1), a_talk("other", user=2)
    address = reverse("admin:conversations_conversation_changelist")
    response: Any = client.post(address, {"action": "export_jsonl", "_selected_action": [str(chosen)]})
    lines = [json.loads(line) for line in b"".join(response.streaming_content).splitlines()]
    assert [line["type"] for line in lines] == ["conversation", "message"]
    assert (lines[1]["content"], lines[0]["id"]) == ("mine", str(chosen))
    assert AuditEntry.objects.get(action="conversation.export").actor == "anna"


@pytest.mark.usefixtures("kept_rows")
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), max_size=6))
def test_any_texts_come_back(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    talk = a_talk(*texts)
    path = tmp_path_factory.mktemp("export") / "talk.jsonl"
    with path.open("w", newline="") as file:
        file.writelines(export.lines(Conversation.objects.filter(pk=talk), "jsonl", by="anna"))
    bring(path)
    copy = Conversation.objects.get(metadata__import__key=str(talk))
    assert verifying.checksum(copy.pk) == verifying.checksum(talk)
    assert [entry.content for entry in log.history(copy.pk)] == texts
