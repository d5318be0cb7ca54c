"""An import is boring: run twice, killed anywhere, side by side with the old system, compared, undone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction

from agents.models import AuditEntry
from conversations import erasure, log
from conversations.buffering import receive
from conversations.legacy import batches, undoing, verifying, writing
from conversations.legacy.batches import Terms
from conversations.legacy.cleaning import Rules
from conversations.legacy.detecting import source_of
from conversations.legacy.digest import digest
from conversations.legacy.errors import LegacyError, NoSuchImportError, TakenOverError, WrittenSinceError
from conversations.legacy.moments import microseconds
from conversations.legacy.sources import Options
from conversations.models import (
    Conversation,
    ImportBatch,
    ImportChat,
    ImportReject,
    ImportShare,
    ImportStatus,
    Message,
    MessageBuffer,
)  # fmt: skip
from conversations.reconcile import account
from tests.integration.test_crashes import environment
from tests.old_world import BLOBS, FLAT, SESSIONS, Old, bring, file, old_database, reasons, said
from tests.processes import ROOT
from tests.racing import racers

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def old(transactional_db: None) -> Iterator[Old]:
    with old_database(FLAT) as world:
        yield world


def fill(old: Old, messages: int, chats: int = 5) -> None:
    old.run(
        "INSERT INTO messages (chat_id, user_id, role, content, created_at, deleted_at) SELECT mod(n, %s), mod(n, %s),"
        " CASE WHEN mod(n, 13) = 0 THEN 'robot' WHEN mod(n, 2) = 0 THEN 'user' ELSE 'assistant' END, 'text ' || n,"
        " CASE WHEN mod(n, 7) > 0 THEN timestamp '2024-01-01' + n * interval '1 minute' END,"
        " CASE WHEN mod(n, 11) = 0 THEN timestamp '2025-01-01' END FROM generate_series(1, %s) n",
        chats,
        chats,
        messages,
    )


def sums() -> dict[str, int]:
    """The checksum of every conversation, by its chat."""
    return {str(talk.chat_id): verifying.checksum(talk.pk) for talk in Conversation.objects.all()}


def test_the_database_and_python_compute_the_same_digest(db: None) -> None:
    when, gone = datetime(1999, 2, 3, 4, 5, 6, 789, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)
    for deleted in (None, gone):
        with connection.cursor() as cursor:
            cursor.execute("SELECT message_digest(7, 'user', %s, %s, %s)", ["Привет 😀\n", when, deleted])
            there = None if deleted is None else microseconds(deleted)
            assert cursor.fetchone()[0] == digest(7, "user", "Привет 😀\n".encode(), microseconds(when), there)


def test_the_second_run_brings_only_what_is_new(old: Old) -> None:
    fill(old, 60)
    first = bring(old.url)
    before = sums()
    again = bring(old.url)
    assert (again.brought, again.known, again.read) == (0, first.brought, first.read)
    assert sums() == before
    old.say(1, "user", "since then").say(99, "user", "a new chat")
    third = bring(old.url)
    assert (third.brought, third.status) == (2, ImportStatus.DONE)
    assert Conversation.objects.count() == 6


def test_a_blob_that_grew_brings_its_new_messages_alone(old: Old) -> None:
    old.run(SESSIONS).session("s", [{"role": "user", "content": "a"}])
    bring(old.url, "chat_sessions")
    live = Conversation.objects.get()
    receive(live.pk, "said here")
    old.run("UPDATE chat_sessions SET messages = messages || %s::jsonb", json.dumps([{"role": "user", "content": "b"}]))
    assert bring(old.url, "chat_sessions").brought == 1
    assert [entry.content for entry in log.history(live.pk)] == ["a", "said here", "b"]


def test_what_was_changed_in_the_source_is_told_and_not_written_over(old: Old) -> None:
    old.run(SESSIONS).session("s", [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}])
    bring(old.url, "chat_sessions")
    old.run("UPDATE chat_sessions SET messages = %s", json.dumps([{"role": "user", "content": "edited"}]))
    batch = bring(old.url, "chat_sessions")
    assert (reasons(batch), said()) == (["changed"], [("user", "a"), ("user", "b")])


def test_what_was_erased_here_does_not_come_back(old: Old) -> None:
    old.say(1, "user", "secret").say(1, "robot", "secret, too")
    bring(old.url)
    erasure.erase(Conversation.objects.get().pk, by="anna", reason="asked for")
    assert not ImportReject.objects.exists(), "what was rejected of it is erased with it"
    batch = bring(old.url)
    assert (batch.brought, batch.known, batch.rejected, Conversation.objects.count()) == (0, 2, 0, 0)
    assert batch.report["problems"]["erased"]["count"] == 2


RUN = [sys.executable, "manage.py", "import_conversations"]
POINTS = [
    "before_import_copy", "after_import_copy:2", "in_import_chunk", "after_import_chunk:2", "in_import_verify",
]  # fmt: skip


@pytest.mark.parametrize("point", POINTS)
def test_killed_anywhere_it_goes_on_and_ends_like_one_that_was_not(old: Old, point: str) -> None:
    """A process of its own dies; the next start finishes the same import."""
    fill(old, 90)
    code = (
        "import sys, django; django.setup();"
        "from conversations.legacy import chunks; chunks.chunks.__kwdefaults__['most'] = 25;"
        "from django.core.management import call_command; call_command('import_conversations', sys.argv[1])"
    )
    command = [sys.executable, "-c", code, old.url]
    dead = subprocess.run(command, cwd=ROOT, env={**environment(), "CRASH_AT": point}, capture_output=True, check=False)
    assert dead.returncode == 137, dead.stderr
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
    batch = ImportBatch.objects.get()
    assert (batch.status, batch.read, batch.generation) == (ImportStatus.DONE, 90, 2)
    interrupted = sums()
    undoing.undo(batch.pk, by="anna")
    smooth = bring(old.url)
    assert sums() == interrupted
    assert (smooth.brought, smooth.rejected, smooth.report["roles"]) == (
        batch.brought,
        batch.rejected,
        batch.report["roles"],
    )
    assert account().holes == 0


def test_of_two_processes_with_one_import_the_older_stops(old: Old) -> None:
    fill(old, 10)
    source, terms = source_of(old.url, None, Options()), Terms(Rules())
    older = batches.begin(source, terms, by="anna")
    newer = batches.begin(source, terms, by="boris")
    assert older.home.batch == newer.home.batch
    [chunk] = batches.chunks(source, terms.rules, None)
    with pytest.raises(TakenOverError):
        writing.write(older, chunk)
    writing.write(newer, chunk)
    assert batches.finish(newer, by="boris").status == ImportStatus.DONE


def test_a_message_that_is_not_what_was_read_is_found(old: Old) -> None:
    fill(old, 30)
    batch = bring(old.url)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")  # as if the table had no triggers
        cursor.execute("UPDATE messages SET content = content || '.' WHERE message_index = 3 AND content = 'text 16'")
        cursor.execute("SELECT count(*) FROM messages WHERE content = 'text 16.'")
        assert cursor.fetchone()[0] == 1
    assert verifying.verify(batch.pk, again=True) == 1
    with pytest.raises(CommandError, match="1 conversations"):
        call_command("import_conversations", verify=batch.pk)


def test_what_rests_is_compared_beside_and_only_what_is_equal_is_said(old: Old) -> None:
    fill(old, 40)
    batch = bring(old.url)
    shares = ImportShare.objects.filter(batch=batch)
    shares.update(state="written")
    wrong = shares.order_by("id")[1]
    ImportShare.objects.filter(pk=wrong.pk).update(checksum=wrong.checksum + 1)
    moment = connection.cursor().execute("SELECT clock_timestamp()").fetchone()[0]
    late = shares.order_by("id")[2]
    ImportShare.objects.filter(pk=late.pk).update(updated_at=moment)  # the last chunk brought something to it
    with verifying.beside(batch.pk) as compare:
        compare(moment)
    states = dict(shares.values_list("id", "state"))
    assert [states.pop(wrong.pk), states.pop(late.pk)] == ["written", "written"]
    assert set(states.values()) == {"equal"}
    assert verifying.verify(batch.pk) == 1


def test_what_a_chunk_holds_at_the_moment_is_not_waited_for(old: Old) -> None:
    fill(old, 40)
    batch = bring(old.url)
    ImportShare.objects.filter(batch=batch).update(state="written")
    with transaction.atomic():
        held = ImportShare.objects.select_for_update().filter(batch=batch).order_by("id").first()
        with verifying.beside(batch.pk) as compare:
            compare(datetime.now(UTC) + timedelta(days=1))
    assert list(ImportShare.objects.filter(batch=batch, state="written").values_list("pk", flat=True)) == [held.pk]  # type: ignore[union-attr]


def test_a_message_deleted_here_since_does_not_look_like_a_loss(old: Old) -> None:
    fill(old, 30)
    batch = bring(old.url)
    log.clear(Conversation.objects.first().pk, by="anna")  # type: ignore[union-attr]
    assert verifying.verify(batch.pk, again=True) == 0


def test_undo_takes_what_the_import_brought_and_nothing_else(old: Old) -> None:
    other = log.append(Conversation.objects.create(user_id=3).pk, "user", "not of the import")
    fill(old, 40)
    batch = bring(old.url)
    done = undoing.undo(batch.pk, by="anna")
    assert (done.erased, done.marked, done.messages) == (5, 0, batch.brought)
    assert said() == [("user", "not of the import")]
    assert log.history(other.conversation_id)
    assert not ImportChat.objects.exists()
    assert list(AuditEntry.objects.filter(action="import.undo").order_by("id").values_list("status", flat=True)) == [
        "started",
        "success",
    ]
    assert AuditEntry.objects.filter(action="conversation.erase").count() == 5
    with pytest.raises(undoing.NothingToUndoError):
        undoing.undo(batch.pk, by="anna")
    assert bring(old.url).brought == batch.brought


def test_undo_is_refused_where_people_have_written_since(old: Old) -> None:
    fill(old, 40)
    batch = bring(old.url)
    talk = Conversation.objects.get(chat_id=3)
    receive(talk.pk, "I am here already")
    count = Message.objects.count()
    with pytest.raises(WrittenSinceError, match="1 of its conversations"):
        undoing.undo(batch.pk, by="anna")
    batch.refresh_from_db()
    assert (Message.objects.count(), batch.status) == (count, ImportStatus.DONE)
    done = undoing.undo(batch.pk, by="anna", force=True)
    assert (done.erased, done.marked) == (4, 1)
    assert [entry.content for entry in log.history(talk.pk)] == ["I am here already"]
    assert MessageBuffer.objects.filter(conversation=talk).exists(), "who wrote is still answered"


def test_undoing_the_second_import_leaves_the_first_and_it_can_come_again(old: Old) -> None:
    old.say(1, "user", "first")
    bring(old.url)
    old.say(1, "user", "second")
    second = bring(old.url)
    assert undoing.undo(second.pk, by="anna").marked == 1
    talk = Conversation.objects.get()
    assert [entry.content for entry in log.history(talk.pk)] == ["first"]
    third = bring(old.url)
    assert (third.brought, [entry.content for entry in log.history(talk.pk)]) == (1, ["first", "second"])
    assert bring(old.url).brought == 0


def test_undo_withdraws_what_waits(old: Old) -> None:
    old.run(BLOBS)
    row = "INSERT INTO conversations (user_id, chat_id, messages, metadata) VALUES (5, 5, '[]', %s)"
    old.run(row, json.dumps({"messageBuffer": [{"content": "wait"}]}))
    batch = bring(old.url, "conversations")
    undoing.undo(batch.pk, by="anna")
    assert (MessageBuffer.objects.count(), Conversation.objects.count(), account().holes) == (0, 0, 0)


def test_an_undo_that_was_killed_goes_on(old: Old, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(old, 40)
    batch = bring(old.url)
    monkeypatch.setattr(undoing, "AT_ONCE", 2)
    undoing._take_back(undoing.begin(batch.pk, by="anna", force=False), by="anna", force=False)
    command = [*RUN, "--undo", str(batch.pk)]
    dead = subprocess.run(
        command, cwd=ROOT, env={**environment(), "CRASH_AT": "in_import_undo"}, capture_output=True, check=False
    )
    assert (dead.returncode, Conversation.objects.count()) == (137, 0)
    batch.refresh_from_db()
    assert batch.status == ImportStatus.UNDOING
    assert undoing.undo(batch.pk, by="anna").erased == 5
    assert AuditEntry.objects.filter(action="conversation.erase").count() == 5


def test_an_undo_tells_how_far_it_is_and_takes_transactions_of_a_size(
    old: Old, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(old, 40)
    batch = bring(old.url)
    monkeypatch.setattr(undoing, "AT_ONCE", 4)
    monkeypatch.setattr(undoing, "MESSAGES", 10)
    monkeypatch.setattr(undoing, "PART", 1)
    told: list[int] = []
    assert undoing.undo(batch.pk, by="anna", progress=told.append).erased == 5
    assert told == [1, 1, 1, 1, 1]
    assert undoing.left(batch.pk) == 0
    told.clear()
    monkeypatch.setattr(undoing, "MESSAGES", 20)
    again = bring(old.url)
    assert undoing.left(again.pk) == 5
    undoing.undo(again.pk, by="anna", progress=told.append)
    assert told == [2, 2, 1]


def test_two_undos_at_once_take_everything_back_and_are_on_record_once(
    old: Old, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(old, 40)
    batch = bring(old.url)
    monkeypatch.setattr(undoing, "AT_ONCE", 1)

    def undo() -> int:
        try:
            return undoing.undo(batch.pk, by="anna").erased
        except undoing.NothingToUndoError:  # the other was done before this one began
            return 5

    with racers() as race:
        assert race(undo, undo) == [5, 5]
    ended = AuditEntry.objects.filter(action="import.undo", status="success")
    assert [entry.details["erased"] for entry in ended] == [5]
    assert (Conversation.objects.count(), undoing.left(batch.pk)) == (0, 0)


def test_an_import_with_nothing_new_says_what_it_looked_at(old: Old) -> None:
    fill(old, 40)
    first = bring(old.url)
    again = bring(old.url)
    assert (first.report["conversations"], first.report["opened"]) == (5, 5)
    assert (again.report["conversations"], again.report["opened"], again.brought) == (5, 0, 0)


def test_a_chunk_that_dies_leaves_nothing_of_itself(old: Old, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(old, 20)
    monkeypatch.setattr(writing, "_move_on", lambda *_: (_ for _ in ()).throw(LegacyError("stop")))
    with pytest.raises(LegacyError):
        bring(old.url)
    assert (Message.objects.count(), Conversation.objects.count(), ImportShare.objects.count()) == (0, 0, 0)
    assert ImportBatch.objects.get().status == ImportStatus.FAILED
    monkeypatch.undo()
    assert bring(old.url).status == ImportStatus.DONE
    assert ImportBatch.objects.count() == 1


def test_counts_that_do_not_add_up_are_refused_by_the_database(db: None) -> None:
    with pytest.raises(IntegrityError, match="imports_account_for_all"), transaction.atomic():
        ImportBatch.objects.create(kind="json", source="[]", origin="x", read=2, brought=1)


def test_the_command_tells_a_manager_what_there_is(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "a", "timestamp": 1}, {"role": "robot", "content": "b"}]
    path, out = str(file(tmp_path, messages)), StringIO()
    call_command("import_conversations", path, dry_run=True, stdout=out, stderr=StringIO())
    for line in ("Conversations  1, of which 1 are new", "unknown role: 1 time", "Nothing was written."):
        assert line in out.getvalue()
    call_command("import_conversations", path, stdout=out, stderr=StringIO())
    assert "1 rejects wait" in out.getvalue()
    assert "every conversation is equal to what could be read of it" in out.getvalue()
    batch = ImportBatch.objects.get()
    call_command("import_conversations", retry=batch.pk, role=["robot=assistant"], stdout=out)
    call_command("import_conversations", verify=batch.pk, stdout=out)
    call_command("import_conversations", list=True, stdout=out)
    call_command("import_conversations", undo=batch.pk, stdout=out)
    assert "1 conversations were erased" in out.getvalue()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "Name a source"),
        ({"source": "x.json", "list": True}, "Name a source"),
        ({"source": "x.json"}, "There is no file"),
        ({"source": "x.json", "role": ["robot"]}, "NAME=VALUE"),
        ({"source": "x.json", "role": ["robot=king"]}, "There is no role king"),
        ({"source": "x.json", "timezone": "Mars/Base"}, "no time zone"),
        ({"source": "x.json", "agent": "nobody"}, "no agent nobody; known: "),
        ({"source": "x.json", "channel": "telegramm"}, "Did you mean telegram"),
        ({"undo": UUID(int=1)}, "There is no import"),
    ],
)
def test_a_wrong_call_is_answered_in_words(given: dict[str, Any], says: str) -> None:
    where = [given.pop("source")] if "source" in given else []
    with pytest.raises(CommandError, match=says):
        call_command("import_conversations", *where, **given)


def test_there_is_no_such_import(db: None) -> None:
    with pytest.raises(NoSuchImportError):
        batches.get(UUID(int=0))
