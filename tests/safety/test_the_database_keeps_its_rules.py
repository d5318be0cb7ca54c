"""What a room declares as a rule cannot be taken away by a slip, in whatever words (docs/adr/0141)."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.db.migrations import Migration
from psycopg import errors

from config import rules
from config.rules import Rule
from entities import guarding
from entities.safety import guard, kept
from tests import raw

pytestmark = pytest.mark.django_db(transaction=True)


REFUSED = [
    "DROP TRIGGER messages_refuse_change ON messages",
    "DROP FUNCTION messages_refuse_change() CASCADE",
    "DROP FUNCTION parley_write_once() CASCADE",
    "DROP TRIGGER IF EXISTS message_fates_stay ON message_fates",
    "ALTER TABLE messages DISABLE TRIGGER messages_number",
    "ALTER TABLE messages DISABLE TRIGGER USER",
    "ALTER TABLE audit_log DISABLE TRIGGER ALL",
    "ALTER TABLE audit_log ENABLE REPLICA TRIGGER audit_log_write_once",
    "ALTER TABLE conversations ADD COLUMN x int, DISABLE TRIGGER conversations_changed",
    "ALTER TRIGGER messages_number ON messages RENAME TO zzz",
    "ALTER TABLE messages DROP CONSTRAINT messages_one_per_index",
    "ALTER TABLE messages DROP CONSTRAINT messages_one_per_index CASCADE",
    "ALTER TABLE messages RENAME CONSTRAINT messages_one_per_index TO zzz",
    "DROP INDEX turns_one_running",
    "DROP INDEX IF EXISTS nothing, turns_one_running CASCADE",
    "ALTER INDEX turns_one_running RENAME TO zzz",
    "ALTER TABLE turns_one_running RENAME TO zzz",
    "DROP INDEX queue_tasks_one_waits",
    "ALTER TABLE notes DISABLE TRIGGER entity_lineage",
    "DROP TRIGGER search_changed ON notes",
    "DO $$ BEGIN EXECUTE 'DROP TRIG' || 'GER messages_count ON messages'; END $$",
    # as with pg_temp first, and a table of the same name in it
    "CREATE TEMP TABLE messages (i int); SET search_path = pg_temp, public;"
    " DROP TRIGGER messages_number ON public.messages",
]
ALLOWED = [
    "ALTER TABLE messages ADD COLUMN x int",
    "ALTER TABLE messages DISABLE TRIGGER USER, ENABLE TRIGGER USER",
    "CREATE OR REPLACE TRIGGER entity_stamped BEFORE UPDATE ON notes FOR EACH ROW EXECUTE FUNCTION entity_is_stamped()",
    "CREATE UNIQUE INDEX mine ON notes (id); DROP INDEX mine",
    "CREATE TRIGGER mine BEFORE DELETE ON notes FOR EACH ROW EXECUTE FUNCTION entity_is_stamped();"
    " ALTER TABLE notes DISABLE TRIGGER mine; DROP TRIGGER mine ON notes",
    "REINDEX INDEX turns_one_running",
    "REINDEX TABLE messages",
    "CLUSTER turns USING turns_flush_id_key",
    "DROP INDEX notes_of_conversation",
    "CREATE SCHEMA other; CREATE TABLE other.turns (i int); CREATE UNIQUE INDEX turns_one_running ON other.turns (i);"
    " DROP INDEX other.turns_one_running",
    "SET LOCAL parley.erasing = 'on'; TRUNCATE conversations CASCADE",
]


@pytest.mark.parametrize("statement", REFUSED)
def test_it_is_refused(psql: psycopg.Connection[Any], statement: str) -> None:
    with pytest.raises(errors.RestrictViolation, match=r"rule is refused: public\.\w+\.\w+"):
        psql.execute(statement)  # type: ignore[arg-type]
    psql.rollback()
    assert rules.rules().ok


@pytest.mark.parametrize("statement", ALLOWED)
def test_it_is_none_of_its_business(psql: psycopg.Connection[Any], statement: str) -> None:
    psql.execute(statement)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["turns_one_running", 'public."turns_one_running"', "/* the */\nTURNS_ONE_RUNNING"])
def test_an_index_is_whole_after_somebody_wanted_to_drop_it_in_the_background(
    transactional_db: None, name: str
) -> None:
    with raw.connect() as session:
        with pytest.raises(errors.RestrictViolation):
            session.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")  # type: ignore[arg-type]
        assert rules.rules().ok
        session.execute("REINDEX INDEX CONCURRENTLY turns_one_running")
        session.execute("CREATE UNIQUE INDEX turns_one_running_too ON turns (id)")
        session.execute("DROP INDEX CONCURRENTLY turns_one_running_too")
    assert rules.rules().ok


def test_a_superuser_may_once_and_on_record(psql: psycopg.Connection[Any]) -> None:
    psql.execute("SELECT parley_guard.permit('public.messages.messages_number', 'a bulk load')")
    psql.execute("ALTER TABLE messages DISABLE TRIGGER messages_number")
    psql.execute("DROP TRIGGER messages_number ON messages")
    found = psql.execute("SELECT details FROM audit_log WHERE action = 'schema.permit'").fetchone()
    assert found is not None
    assert found["details"]["why"] == "a bulk load"
    with pytest.raises(errors.RestrictViolation):
        psql.execute("DROP TRIGGER messages_count ON messages")  # another one was not permitted


def test_what_was_switched_off_before_may_be_switched_on_one_by_one(transactional_db: None) -> None:
    with raw.connect() as session:
        session.execute("SET event_triggers = off; ALTER TABLE notes DISABLE TRIGGER USER; RESET event_triggers")
        try:
            session.execute("ALTER TABLE notes ENABLE TRIGGER search_added")
            with pytest.raises(errors.RestrictViolation):
                session.execute("ALTER TABLE notes DISABLE TRIGGER search_added")
            guarding.bind()
            assert guarding.lacking() == []
        finally:
            session.execute("ALTER TABLE notes ENABLE TRIGGER USER")
    assert rules.rules().ok


def test_what_was_taken_away_under_a_permission_holds_no_migration_up() -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT parley_guard.permit('public.turns.turns_one_running', 'to see')")
        cursor.execute("DROP INDEX turns_one_running")
        with kept.while_migrating([]):
            assert Rule("turns", "turns_one_running", "unique") not in (kept.known(cursor) or ())
        assert not rules.rules().ok
        transaction.set_rollback(True)


# --- migrations ---


def test_all_that_is_declared_is_kept_after_migrate() -> None:
    assert kept.unkept() == []
    with connection.cursor() as cursor:
        assert kept.known(cursor) == rules.declared()


def test_a_migration_drops_what_its_release_declares_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = Rule("turns", "turns_one_running", "unique")
    with transaction.atomic(), connection.cursor() as cursor:
        monkeypatch.setattr(rules, "RULES", rules.RULES - {mine})
        with kept.while_migrating([(Migration("0099", "conversations"), False)]):
            cursor.execute("DROP INDEX turns_one_running")
            with pytest.raises(IntegrityError, match="rule is refused"), transaction.atomic():
                cursor.execute("DROP INDEX queue_tasks_one_waits")
        transaction.set_rollback(True)


def test_the_way_back_drops_what_a_migration_made_and_all_else_is_kept_again() -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        with kept.while_migrating([(Migration("0099", "conversations"), True)]):
            cursor.execute("DROP FUNCTION message_fates_stay() CASCADE")
        mine = Rule("message_fates", "message_fates_stay", "trigger")
        assert kept.known(cursor) == rules.declared() - {mine}
        transaction.set_rollback(True)
    assert kept.unkept() == []


def test_a_refused_way_back_leaves_the_rules_kept() -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO conversations (user_id) VALUES (1)")
    with pytest.raises(CommandError, match="Going back"):
        call_command("migrate", "conversations", "0019", verbosity=0)
    assert kept.unkept() == []


def test_staff_see_what_is_not_kept() -> None:
    assert guard.guard().ok
    with transaction.atomic(), connection.cursor() as cursor:
        kept.keep(cursor, set())
        told = guard.guard()
        transaction.set_rollback(True)
    assert not told.ok
    assert "messages.messages_number" in told.detail
    assert told.fix


def test_rules_of_an_app_that_is_not_installed_now_stay_kept(transactional_db: None) -> None:
    theirs = Rule("their_table", "their_trigger", "trigger")
    with connection.cursor() as cursor:
        before = kept.known(cursor)
        assert before
        kept.keep(cursor, before | {theirs})
        kept.keep_what_stands()
        try:
            assert kept.known(cursor) == before | {theirs}
        finally:
            kept.keep(cursor, before)
