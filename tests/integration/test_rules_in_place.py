"""`doctor` and the start page tell when somebody took a rule of the database away."""

import pytest
from django.db import connection

from config import doctor, health
from conversations.rules import rules

pytestmark = pytest.mark.django_db


def test_all_of_them_are_there_after_migrate() -> None:
    assert rules().ok, rules().detail


@pytest.mark.parametrize(
    ("deed", "name"),
    [
        ("DROP TRIGGER messages_refuse_change ON messages", "messages_refuse_change"),
        ("DROP FUNCTION messages_refuse_change() CASCADE", "messages_refuse_change"),
        ("ALTER TABLE audit_log DISABLE TRIGGER audit_log_write_once", "audit_log_write_once"),
        ("ALTER TABLE messages DROP CONSTRAINT messages_one_per_index", "messages_one_per_index"),
        ("DROP INDEX turns_one_running", "turns_one_running"),
    ],
)
def test_one_that_is_gone_is_named(deed: str, name: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(deed)
    found = rules()
    assert not found.ok
    assert name in found.detail
    assert found.fix


def test_it_is_looked_at_and_nothing_is_asked_twice() -> None:
    asked = [*doctor.HERE, *health.READINESS, *health.NOTICES, *doctor.THERE]
    assert rules in asked
    assert len(asked) == len(set(asked))
