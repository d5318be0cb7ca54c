"""Whoever asks, in whatever words: the database keeps our tables and columns (docs/adr/0119)."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from entities.safety import guard
from tests import raw

pytestmark = pytest.mark.django_db(transaction=True)


REFUSED = {
    "DROP TABLE notes": "dropping a table",
    "DROP TABLE notes CASCADE": "dropping a table",
    "ALTER TABLE notes DROP COLUMN text": "dropping a table column",
    "ALTER TABLE notes RENAME COLUMN text TO body": "renaming a table column",
    "ALTER TABLE notes RENAME TO memos": "renaming a table",
    "INSERT INTO notes (title) VALUES ('x'); {now}ALTER TABLE notes ALTER title TYPE varchar(20)": "the type of",
    "INSERT INTO characters (name) VALUES ('x'); {now}ALTER TABLE characters ALTER age TYPE int8": "the type of",
    "DO $$ BEGIN EXECUTE 'DROP TA' || 'BLE notes'; END $$": "dropping a table",
    "DO $$ BEGIN ALTER TABLE notes RENAME text TO body; END $$": "renaming a table column",
    "DROP SCHEMA public CASCADE": "dropping a table",
    "DROP OWNED BY CURRENT_USER CASCADE": "",
}
ALLOWED = [
    "CREATE TEMP TABLE mine (i int); DROP TABLE mine",
    "DROP INDEX notes_of_conversation",
    "ALTER TABLE notes ADD COLUMN mood text",
    "ALTER TABLE notes ALTER title TYPE varchar(500)",
    "ALTER TABLE notes ALTER title TYPE text",
    "ALTER TABLE notes DROP CONSTRAINT notes_named",
    "ALTER TABLE notes ALTER title DROP NOT NULL",
    "ALTER TABLE django_session RENAME COLUMN session_data TO x",
    "CREATE SCHEMA other; CREATE TABLE other.t (i int); DROP TABLE other.t",
]


@pytest.mark.parametrize("statement", REFUSED)
def test_it_is_refused(psql: psycopg.Connection[Any], statement: str) -> None:
    with pytest.raises(psycopg.Error, match=REFUSED[statement] or None):
        psql.execute(statement.replace("{now}", "SET CONSTRAINTS ALL IMMEDIATE; "))  # type: ignore[arg-type]


@pytest.mark.parametrize("statement", ALLOWED)
def test_it_is_none_of_its_business(psql: psycopg.Connection[Any], statement: str) -> None:
    psql.execute(statement)  # type: ignore[arg-type]


def test_a_permission_ends_with_its_transaction(transactional_db: None) -> None:
    with raw.connect(autocommit=False) as session:
        session.execute("SELECT parley_guard.permit('public.notes.text', 'asked to by its owner')")
        session.commit()
        session.execute("SELECT pg_current_xact_id()")  # the next transaction writes, too
        with pytest.raises(psycopg.Error, match="dropping a table column"):
            session.execute("ALTER TABLE notes DROP COLUMN text")
        session.rollback()


def test_a_superuser_may_once_and_on_record(psql: psycopg.Connection[Any]) -> None:
    with pytest.raises(psycopg.Error, match="say why"), psql.transaction():
        psql.execute("SELECT parley_guard.permit('public.notes.text', ' ')")
    psql.execute("SELECT parley_guard.permit('public.notes.text', 'asked to by its owner')")
    psql.execute("ALTER TABLE notes DROP COLUMN text")
    found = psql.execute("SELECT actor, details FROM audit_log WHERE action = 'schema.permit'").fetchone()
    assert found is not None
    assert found["actor"].startswith("database:")
    assert found["details"]["why"] == "asked to by its owner"
    with pytest.raises(psycopg.errors.RestrictViolation):
        psql.execute("ALTER TABLE notes DROP COLUMN title")  # another one was not permitted


def test_a_permission_that_was_rolled_back_permits_nothing(psql: psycopg.Connection[Any]) -> None:
    psql.execute("SAVEPOINT before")
    psql.execute("SELECT parley_guard.permit('public.notes.text', 'once')")
    psql.execute("ROLLBACK TO before")
    with pytest.raises(psycopg.errors.RestrictViolation):
        psql.execute("ALTER TABLE notes DROP COLUMN text")


def test_only_a_superuser_may(psql: psycopg.Connection[Any]) -> None:
    psql.execute("CREATE ROLE plain_owner LOGIN")
    psql.execute("GRANT ALL ON SCHEMA parley_guard TO plain_owner; GRANT INSERT, SELECT ON audit_log TO plain_owner")
    psql.execute("SET SESSION AUTHORIZATION plain_owner")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="superuser"):
        psql.execute("SELECT parley_guard.permit('public.notes.text', 'please')")


def test_staff_see_where_it_does_not_stand(psql: psycopg.Connection[Any]) -> None:
    assert guard.guard().ok
    with raw.connect() as admin:
        admin.execute("ALTER EVENT TRIGGER parley_keep_names DISABLE")
        try:
            told = guard.guard()
        finally:
            admin.execute("ALTER EVENT TRIGGER parley_keep_names ENABLE")
    assert not told.ok
    assert "parley_keep_names" in told.detail
