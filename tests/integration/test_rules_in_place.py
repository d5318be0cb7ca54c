"""`doctor` and the start page tell when somebody took a rule of the database away."""

import pytest
from django.db import connection

from config import doctor, health
from config.rules import declared, rules

pytestmark = pytest.mark.django_db

# Every trigger, and every unique index that is not a primary key: a table that has lost its key tells by itself.
THERE = """
SELECT tab.relname || '.' || tgname FROM pg_trigger JOIN pg_class AS tab ON tab.oid = tgrelid
WHERE NOT tgisinternal AND tab.relnamespace = current_schema()::regnamespace
UNION ALL
SELECT tab.relname || '.' || index.relname FROM pg_index JOIN pg_class AS tab ON tab.oid = indrelid
    JOIN pg_class AS index ON index.oid = indexrelid
WHERE indisunique AND NOT indisprimary AND tab.relnamespace = current_schema()::regnamespace
"""
NOT_OURS = {"auth_": "logins, and their migrations, are Django's", "django_": "kinds of rows: Django's as well"}


def unnamed() -> list[str]:
    """What the database has and no room declares."""
    with connection.cursor() as cursor:
        cursor.execute(THERE)
        there = {name for (name,) in cursor.fetchall() if not name.startswith(tuple(NOT_OURS))}
    return sorted(there - set(map(str, declared())))


def take_away(deed: str) -> None:
    """As a superuser who means it, or where no event trigger stands."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL event_triggers = off")
        cursor.execute(deed)


def test_all_of_them_are_there_after_migrate() -> None:
    assert rules().ok, rules().detail


def test_a_migration_makes_none_that_no_room_names() -> None:
    assert not unnamed(), "name them in the room's rules.py, so that doctor misses them when they go"


@pytest.mark.parametrize(
    ("deed", "name"),
    [
        ("CREATE UNIQUE INDEX one_bot_a_day ON bots (created_at)", "bots.one_bot_a_day"),
        ("ALTER TABLE turns ADD CONSTRAINT one_reply UNIQUE (reply_id)", "turns.one_reply"),
        (
            "CREATE TRIGGER tools_stay BEFORE DELETE ON tools FOR EACH ROW EXECUTE FUNCTION parley_write_once()",
            "tools.tools_stay",
        ),
    ],
)
def test_one_that_was_not_named_is_found(deed: str, name: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(deed)
    assert unnamed() == [name]


@pytest.mark.parametrize(
    ("deed", "name"),
    [
        ("DROP TRIGGER messages_refuse_change ON messages", "messages.messages_refuse_change"),
        ("DROP FUNCTION messages_refuse_change() CASCADE", "messages.messages_refuse_change"),
        ("ALTER TABLE audit_log DISABLE TRIGGER audit_log_write_once", "audit_log.audit_log_write_once"),
        ("ALTER TABLE audit_log ENABLE REPLICA TRIGGER audit_log_chained", "audit_log.audit_log_chained"),
        ("ALTER TABLE messages DROP CONSTRAINT messages_one_per_index", "messages.messages_one_per_index"),
        ("DROP INDEX turns_one_running", "turns.turns_one_running"),
        ("DROP TRIGGER search_gone ON messages", "messages.search_gone"),
        ("ALTER TABLE notes DISABLE TRIGGER entity_kept", "notes.entity_kept"),
        ("DROP INDEX queue_tasks_one_waits", "queue_tasks.queue_tasks_one_waits"),
    ],
)
def test_one_that_is_gone_is_named(deed: str, name: str) -> None:
    take_away(deed)
    found = rules()
    assert not found.ok
    assert found.detail.endswith(f": {name}")
    assert found.fix


def test_a_rule_of_one_table_does_not_stand_in_for_that_of_another() -> None:
    take_away("DROP TRIGGER entity_lineage ON ideas")
    assert rules().detail.endswith(": ideas.entity_lineage")


def test_it_is_looked_at_and_nothing_is_asked_twice() -> None:
    asked = [*doctor.HERE, *health.READINESS, *health.NOTICES, *doctor.THERE]
    assert rules in asked
    assert len(asked) == len(set(asked))
