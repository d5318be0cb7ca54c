"""What the doctor sees of an installation that does not hold what it promises, and what it advises."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.db import ProgrammingError, connection
from django.test import Client

from config import doctor, health, rls
from conversations import log, reconcile, sessions
from entities import backup
from entities.management.commands import migrate
from tests import raw
from tests.processes import manage

pytestmark = pytest.mark.django_db


def sql(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def test_a_sound_installation_is_called_so() -> None:
    for check in (health.isolation, doctor.columns, doctor.rights, health.extension):
        assert check().ok, check()


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE messages DISABLE ROW LEVEL SECURITY",
        "DROP POLICY own_rows ON messages",
    ],
)
def test_protection_that_was_switched_off_is_told_and_stops_readiness(client: Client, change: str) -> None:
    sql(change)
    found = health.isolation()
    assert (found.ok, "messages" in found.detail) == (False, True)
    response = client.get("/readyz")
    assert (response.status_code, response.json()["checks"]["isolation"]) == (503, "failed")


def test_a_column_that_no_code_fills_is_told() -> None:
    sql("ALTER TABLE message_buffers ADD COLUMN nn integer NOT NULL")
    found = doctor.columns()
    assert (found.ok, "message_buffers.nn" in found.detail) == (False, True)
    sql("ALTER TABLE message_buffers ALTER nn SET DEFAULT 0")
    assert doctor.columns().ok


def test_pgvector_that_is_not_on_the_search_path_is_told() -> None:
    sql("CREATE SCHEMA elsewhere; ALTER EXTENSION vector SET SCHEMA elsewhere")
    found = health.extension()
    assert (found.ok, "elsewhere" in found.detail, "search_path" in found.fix) == (False, True, True)


def test_a_role_that_may_enter_the_clients_needs_no_right_to_make_roles() -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE ROLE plain_owner NOLOGIN NOSUPERUSER NOCREATEROLE")
        cursor.execute("SET LOCAL ROLE plain_owner")
        assert doctor.rights().ok is rls.available() is True  # the session's role may still enter it
        cursor.execute("RESET ROLE")
        cursor.execute("ALTER ROLE parley_client BYPASSRLS")
        found = doctor.rights()
    assert (found.ok, "bound to a user" in found.detail) == (False, True)


def test_a_superuser_is_called_what_it_is() -> None:
    assert "superuser" in doctor.rights().detail
    assert "row-level security" in doctor.rights().detail


def test_folders_that_cannot_be_written_are_told(settings: LazySettings, tmp_path: Path) -> None:
    settings.DATA_DIR, settings.BACKUP_DIR = tmp_path / "data", tmp_path / "made" / "backups"
    assert doctor.folders().ok
    (tmp_path / "file").touch()
    for name in ("DATA_DIR", "BACKUP_DIR"):
        setattr(settings, name, tmp_path / "file" / "below")
        found = doctor.folders()
        assert (found.ok, name in found.detail) == (False, True)
        setattr(settings, name, tmp_path)


@pytest.mark.django_db(transaction=True)
def test_a_backup_that_is_gone_from_the_disk_is_told(settings: LazySettings, tmp_path: Path) -> None:
    settings.BACKUP_DIR = tmp_path
    taken = backup.take(by="t", reason="by-hand")
    assert backup.backups().ok
    shutil.rmtree(tmp_path / taken.name)
    found = backup.backups()
    assert (found.ok, taken.name in found.detail) == (False, True)


@pytest.mark.django_db(transaction=True)
def test_messages_lost_in_the_middle_are_told() -> None:
    conversation = sessions.open(1)[0]
    for text in ("a", "b", "c"):
        log.append(conversation.pk, "user", text)
    assert reconcile.gaps() == []
    with raw.connect(autocommit=False) as session:
        session.execute("SET session_replication_role = replica")
        session.execute("DELETE FROM messages WHERE message_index = 1")
        session.commit()
    assert reconcile.gaps() == [(conversation.pk, 1)]
    assert not reconcile.complete().ok


def test_the_advice_for_packages_does_something(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_locked", lambda: [("django", "5.2.0", "5.1")])
    assert "touch requirements.txt" in doctor.packages().fix


@pytest.mark.parametrize("url", ["postgresql://nobody@%2Fnowhere:5432/x", "postgresql://u:wrong@127.0.0.1:1/x"])
def test_a_command_without_its_database_says_so_in_a_sentence(url: str) -> None:
    with manage("audit", "verify", DATABASE_URL=url) as process:
        said = process.everything()
        assert process.exit_code() == 1
    assert "Traceback" not in said
    assert "The database did not do it" in said


def test_a_role_that_may_not_create_the_extension_is_told_what_to_do() -> None:
    error = ProgrammingError('permission denied to create extension "vector"\nHINT: ...')
    assert "CREATE EXTENSION vector" in migrate._in_words(error)
    assert "search_path" in migrate._in_words(ProgrammingError('type "vector" does not exist'))
