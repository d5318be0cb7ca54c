"""Row-level security: a user-bound caller sees and writes one user's rows, whatever the query forgets."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.db import DatabaseError, connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import errors

from conversations import log, sessions
from conversations.isolation import acting_as
from conversations.models import Conversation, Message
from tests import raw
from tests.patience import LONG, PATIENCE
from tests.processes import running

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def two_users() -> dict[int, Conversation]:
    """Ann is 1, Bob is 2; each has said one thing."""
    found = {user: sessions.open(user, chat_id=user)[0] for user in (1, 2)}
    for user, conversation in found.items():
        log.append(conversation.pk, "user", f"of {user}")
    return found


@pytest.fixture
def client(two_users: dict[int, Conversation]) -> Iterator[psycopg.Connection[Any]]:
    """SQL as the role a user-bound caller has, with no user chosen yet."""
    with raw.connect(autocommit=False) as db:
        db.execute("SET LOCAL ROLE parley_client")
        yield db
        db.rollback()


def test_the_role_cannot_step_around_the_rules(client: psycopg.Connection[Any]) -> None:
    with raw.connect() as db:
        role = db.execute("SELECT * FROM pg_roles WHERE rolname = 'parley_client'").fetchone()
        tables = db.execute(
            "SELECT relname, relrowsecurity AND relforcerowsecurity AS forced,"
            " pg_get_userbyid(relowner) = 'parley_client' AS owned FROM pg_class"
            " WHERE relname IN ('conversations', 'messages')"
        ).fetchall()
        views = db.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'v' AND relnamespace = 'public'::regnamespace"
            " AND NOT coalesce(reloptions @> '{security_invoker=true}', false)"
        ).fetchall()
        policies = db.execute("SELECT * FROM pg_policies WHERE tablename IN ('conversations', 'messages')").fetchall()
    assert role
    assert not any(role[right] for right in ("rolsuper", "rolbypassrls", "rolcanlogin", "rolcreaterole", "rolcreatedb"))
    assert [(row["forced"], row["owned"]) for row in tables] == [(True, False)] * 2
    assert views == []
    assert all(policy["qual"] and policy["with_check"] for policy in policies)


@pytest.mark.parametrize("user", [None, "", "3"])
def test_without_a_user_there_is_nothing(client: psycopg.Connection[Any], user: str | None) -> None:
    if user is not None:
        client.execute("SELECT set_config('parley.user_id', %s, true)", [user])
    for table in ("conversations", "messages"):
        assert client.execute(f"SELECT * FROM {table}").fetchall() == []
    assert client.execute("UPDATE conversations SET title = 'x'").rowcount == 0
    assert client.execute("UPDATE messages SET deleted_at = now()").rowcount == 0


def test_rows_of_others_can_be_neither_made_nor_handed_over(
    client: psycopg.Connection[Any], two_users: dict[int, Conversation]
) -> None:
    client.execute("SELECT set_config('parley.user_id', '1', true)")
    mine, foreign = two_users[1].pk, two_users[2].pk
    refused = [
        ("INSERT INTO conversations (user_id) VALUES (2)", errors.InsufficientPrivilege),
        ("UPDATE conversations SET user_id = 2", errors.InsufficientPrivilege),
        (
            f"INSERT INTO messages (conversation_id, message_index, role, content) SELECT '{foreign}', 1, 'user', 'x'",
            errors.InsufficientPrivilege,
        ),
        (f"SELECT append_message('{foreign}', 'user', 'x')", errors.ForeignKeyViolation),
        (f"SELECT append_messages('{foreign}', '[]')", errors.ForeignKeyViolation),
        (f"UPDATE messages SET conversation_id = '{foreign}'", errors.InsufficientPrivilege),
        ("UPDATE messages SET content = 'x'", errors.InsufficientPrivilege),
        ("DELETE FROM messages", errors.InsufficientPrivilege),
        ("DELETE FROM conversations", errors.InsufficientPrivilege),
        ("TRUNCATE messages", errors.InsufficientPrivilege),
        ("SELECT * FROM api_keys", errors.InsufficientPrivilege),
        ("SELECT * FROM auth_user", errors.InsufficientPrivilege),
        ("ALTER TABLE messages DISABLE ROW LEVEL SECURITY", errors.InsufficientPrivilege),
    ]
    for statement, error in refused:
        with pytest.raises(error), client.transaction():
            client.execute(statement)  # type: ignore[call-overload]
    assert client.execute("SELECT get_session_message_count(%s) AS n", [foreign]).fetchall() == [{"n": 0}]
    assert client.execute("SELECT * FROM get_session_messages(%s)", [foreign]).fetchall() == []
    assert client.execute("SELECT append_message(%s, 'user', 'x', p_external_id => 'e')", [mine]).rowcount == 1


def test_a_view_of_the_owner_shows_no_more_when_the_invoker_counts(client: psycopg.Connection[Any]) -> None:
    with raw.connect() as owner:
        owner.execute("CREATE VIEW everything WITH (security_invoker = true) AS SELECT * FROM messages")
        owner.execute("GRANT SELECT ON everything TO parley_client")
        try:
            assert client.execute("SELECT * FROM everything").fetchall() == []
            client.rollback()
        finally:
            owner.execute("DROP VIEW everything")


def test_acting_as_a_user_ends_with_its_block(two_users: dict[int, Conversation]) -> None:
    with acting_as(1):
        assert set(Conversation.objects.all()) == {two_users[1]}
        assert [entry.content for entry in log.history(two_users[1].pk)] == ["of 1"]
        assert log.history(two_users[2].pk) == []
        with pytest.raises(log.ConversationNotFoundError):
            sessions.get(two_users[2].pk)
    assert Conversation.objects.count() == 2
    with pytest.raises(RuntimeError), acting_as(2):
        raise RuntimeError
    assert Conversation.objects.count() == 2


def test_acting_as_refuses_a_transaction_it_would_outlive() -> None:
    with transaction.atomic(), pytest.raises(RuntimeError, match="durable"), acting_as(1):
        pass
    with acting_as(1), pytest.raises(RuntimeError, match="durable"), acting_as(2):
        pass


@pytest.mark.django_db(transaction=False)
def test_acting_as_ends_inside_a_test_that_is_one_transaction() -> None:
    sessions.open(1)
    with acting_as(2):
        assert not Conversation.objects.exists()
    assert Conversation.objects.exists()


@pytest.mark.parametrize("user", ["1; DROP TABLE messages", "x", None, [1]])
def test_only_a_number_is_a_user(user: Any) -> None:
    with pytest.raises((TypeError, ValueError)), acting_as(user):
        pass


def test_every_verb_works_on_ones_own(two_users: dict[int, Conversation]) -> None:
    mine = two_users[1].pk
    with acting_as(1):
        assert sessions.open(1, chat_id=1) == (two_users[1], False)
        assert sessions.open(1, chat_id=9)[1]
        assert log.append(mine, "user", "more", external_id="e").message_index == 1
        assert log.append(mine, "user", "more", external_id="e").repeated
        assert len(log.append_many(mine, [{"role": "user", "content": "x"}])) == 1
        assert log.count(mine) == 3
        assert log.save_session(mine, [*_said(mine), {"role": "user", "content": "new"}])[0].message_index == 3
    assert log.count(two_users[2].pk) == 1


def _said(conversation_id: UUID) -> list[dict[str, str]]:
    return [{"role": entry.role, "content": entry.content} for entry in log.history(conversation_id)]


@pytest.mark.parametrize("verb", [log.clear, sessions.close])
def test_what_reaches_beyond_ones_rows_is_for_the_service_alone(two_users: dict[int, Conversation], verb: Any) -> None:
    """Clearing and closing end bursts and turns, too: callers prove the session is theirs, then the service does it."""
    with pytest.raises(DatabaseError, match="permission denied"), acting_as(1):
        verb(two_users[1].pk, by="key")
    assert log.count(two_users[1].pk) == 1


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(owners=st.lists(st.integers(1, 4), min_size=1, max_size=5), deeds=st.data())
def test_no_deed_of_one_user_touches_or_shows_another(
    transactional_db: None, owners: list[int], deeds: st.DataObject
) -> None:
    base = Conversation.objects.count() * 10  # users nobody had before in this test
    conversations = {sessions.open(base + owner)[0].pk: base + owner for owner in owners}
    for pk, owner in conversations.items():
        log.append(pk, "user", str(owner))
    user = base + deeds.draw(st.integers(1, 4))
    target = deeds.draw(st.sampled_from(sorted(conversations)))
    mine = conversations[target] == user
    others = Message.objects.filter(conversation__in=[pk for pk, owner in conversations.items() if owner != user])
    before = list(others.order_by("id").values())
    deed = deeds.draw(st.sampled_from(["append", "batch", "find", "save"]))
    with acting_as(user):
        assert {row.user_id for row in Conversation.objects.all()} <= {user}
        assert {message.content for message in Message.objects.all()} <= {str(user)}
        assert bool(log.history(target)) == mine
        try:
            with transaction.atomic():
                match deed:
                    case "append":
                        log.append(target, "user", str(user))
                    case "batch":
                        log.append_many(target, [{"role": "user", "content": str(user)}])
                    case "find":
                        sessions.get(target)
                    case "save":
                        log.save_session(target, [{"role": "user", "content": str(user)}])
            assert mine
        except log.ConversationNotFoundError:
            assert not mine
    assert list(others.order_by("id").values()) == before


@pytest.mark.long
def test_a_pool_with_aborted_requests_never_shows_a_foreign_row() -> None:
    users, reads = 2000, 100_000 if LONG else 3_000
    connection.close()
    with running(sys.executable, "-W", "error", "-m", "tests.isolation_load", str(users), str(reads), "7",
                 DATABASE_URL=raw.url()) as load:  # fmt: skip
        seen = json.loads(load.wait_for(r"^\{.*\}$", patience=3600 if LONG else PATIENCE).group(0))
        assert load.exit_code() == 0
    assert (seen["foreign"], seen["missed"], seen["leaked roles"]) == (0, 0, 0)
    assert seen["reads"] == reads
    assert seen["service reads"] > reads * 0.01, seen
    for reason in ("ChangedMyMindError", "DataError", "OperationalError", "ProgrammingError"):
        assert seen.get(f"aborted by {reason}", 0) > reads * 0.01, seen
