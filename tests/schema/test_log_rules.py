"""The rules of the log hold for whoever reaches the database, not only for our verbs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import errors
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from tests import raw

pytestmark = pytest.mark.django_db(transaction=True)

SAY = "INSERT INTO messages (conversation_id, role, content) VALUES (%s, 'user', %s) RETURNING message_index"
SAY_AT = "INSERT INTO messages (conversation_id, message_index, role, content) VALUES (%s, %s, 'user', 'x')"


@pytest.fixture
def db(transactional_db: None) -> Iterator[psycopg.Connection[DictRow]]:
    with raw.connect() as connection:
        yield connection


@pytest.fixture
def conversation(db: psycopg.Connection[DictRow]) -> Any:
    return opened(db)


def opened(db: psycopg.Connection[DictRow]) -> Any:
    return one(db, "INSERT INTO conversations (user_id) VALUES (1) RETURNING id")["id"]


def one(db: psycopg.Connection[DictRow], query: str, *values: Any) -> DictRow:
    row = db.execute(query, values).fetchone()  # type: ignore[arg-type]
    assert row is not None
    return row


def test_a_bare_insert_is_numbered_and_dated_by_the_database(db: Any, conversation: Any) -> None:
    for index in range(3):
        assert one(db, SAY, conversation, "hi")["message_index"] == index
    rows = db.execute(
        "INSERT INTO messages (conversation_id, role, content, created_at) SELECT %s, 'user', n::text, 'epoch'"
        " FROM generate_series(1, 5) n RETURNING message_index, created_at",
        [conversation],
    ).fetchall()
    assert [row["message_index"] for row in rows] == [3, 4, 5, 6, 7]
    assert {row["created_at"].year > 2000 for row in rows} == {True}
    assert one(db, "SELECT message_count FROM conversations WHERE id = %s", conversation)["message_count"] == 8


@pytest.mark.parametrize("index", [-1, 0, 1, 3, 2**31, 2**62])
def test_an_index_that_does_not_continue_the_conversation_is_refused(db: Any, conversation: Any, index: int) -> None:
    db.execute(SAY, [conversation, "a"])
    db.execute(SAY, [conversation, "b"])
    with pytest.raises(errors.IntegrityError):
        db.execute(SAY_AT, [conversation, index])
    assert one(db, SAY, conversation, "c")["message_index"] == 2


def test_rows_that_continue_the_conversation_exactly_are_counted(db: Any, conversation: Any) -> None:
    other = opened(db)
    db.execute(SAY, [conversation, "a"])
    with db.cursor().copy("COPY messages (conversation_id, message_index, role, content) FROM STDIN") as copy:
        for row in [(conversation, 2), (other, 0), (conversation, 1), (other, 1)]:
            copy.write_row((*row, "user", "x"))
    counts = db.execute("SELECT id, message_count FROM conversations").fetchall()
    assert {row["id"]: row["message_count"] for row in counts} == {conversation: 3, other: 2}


def test_what_comes_deleted_is_counted_as_deleted_and_no_message_is_the_last_before_it_was_said(
    db: Any, conversation: Any
) -> None:
    values = "(conversation_id, message_index, role, content, created_at, deleted_at)"
    db.execute(f"INSERT INTO messages {values} VALUES (%s, 0, 'user', 'x', '2199-01-01', '2024-01-01')", [conversation])
    db.execute(f"INSERT INTO messages {values} VALUES (%s, NULL, 'user', 'y', NULL, '2024-01-01')", [conversation])
    row = one(db, "SELECT message_count, deleted_count, last_message_at <= now() AS past FROM conversations")
    assert row == {"message_count": 2, "deleted_count": 2, "past": True}


@pytest.mark.parametrize("indexes", [[1, 3], [2], [0, 1], [1, None], [None, 2]])
def test_a_batch_with_a_hole_is_refused_whole(db: Any, conversation: Any, indexes: list[int | None]) -> None:
    db.execute(SAY, [conversation, "a"])
    rows = ", ".join(["(%s, %s::bigint, 'user', 'x')"] * len(indexes))
    values = [value for index in indexes for value in (conversation, index)]
    insert = f"INSERT INTO messages (conversation_id, message_index, role, content) VALUES {rows}"
    with pytest.raises(errors.IntegrityError):
        db.execute(insert, values)
    assert one(db, "SELECT count(*) AS n FROM messages")["n"] == 1


@pytest.mark.parametrize(
    "change",
    [
        "content = 'forged'",
        "role = 'assistant'",
        "message_index = 7",
        "metadata = '{\"a\": 1}'",
        "created_at = now()",
        "author = 'ann'",
        "turn_id = uuidv7()",
        "external_id = 'x'",
        "updated_at = now()",
        "deleted_at = now(), content = 'forged'",
        "conversation_id = conversation_id",
    ],
)
def test_a_message_is_never_changed(db: Any, conversation: Any, change: str) -> None:
    db.execute(SAY, [conversation, "a"])
    with pytest.raises(errors.RestrictViolation, match="append-only"):
        db.execute(f"UPDATE messages SET {change}")


def test_a_message_is_deleted_once_at_the_databases_time(db: Any, conversation: Any) -> None:
    db.execute(SAY, [conversation, "a"])
    row = one(db, "UPDATE messages SET deleted_at = 'epoch' RETURNING deleted_at, updated_at, now() AS now")
    assert row["deleted_at"] == row["updated_at"] == row["now"]
    for again in ("now()", "NULL", "deleted_at"):
        with pytest.raises(errors.RestrictViolation):
            db.execute(f"UPDATE messages SET deleted_at = {again}")
    assert one(db, "SELECT deleted_count FROM conversations")["deleted_count"] == 1


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM messages",
        "DELETE FROM conversations",
        "TRUNCATE messages CASCADE",
        "TRUNCATE conversations CASCADE",
        "UPDATE conversations SET message_count = 0",
        "UPDATE conversations SET message_count = message_count + 1",
        "UPDATE conversations SET deleted_count = 1",
        "INSERT INTO conversations (user_id, message_count) VALUES (1, 5)",
        "INSERT INTO conversations (user_id, deleted_count) VALUES (1, 1)",
    ],
)
def test_what_would_lose_messages_is_refused(db: Any, conversation: Any, statement: str) -> None:
    db.execute(SAY, [conversation, "a"])
    with pytest.raises(errors.RestrictViolation):
        db.execute(statement)
    assert one(db, SAY, conversation, "b")["message_index"] == 1


def test_erasing_takes_the_whole_conversation_and_only_inside_its_transaction(db: Any, conversation: Any) -> None:
    db.execute(SAY, [conversation, "a"])
    with db.transaction():
        db.execute("SELECT set_config('parley.erasing', 'on', true)")
        with pytest.raises(errors.RestrictViolation, match="gap"), db.transaction():
            db.execute("DELETE FROM messages")
        db.execute("DELETE FROM conversations WHERE id = %s", [conversation])
    assert one(db, "SELECT count(*) AS n FROM messages")["n"] == 0
    kept = opened(db)
    with pytest.raises(errors.RestrictViolation):
        db.execute("DELETE FROM conversations WHERE id = %s", [kept])


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("INSERT INTO conversations (user_id, mode) VALUES (1, 'odd')", errors.CheckViolation),
        ("INSERT INTO conversations (user_id, interview_step) VALUES (1, -1)", errors.CheckViolation),
        ("INSERT INTO conversations (user_id, metadata) VALUES (1, '[]')", errors.CheckViolation),
        ("INSERT INTO conversations (title) VALUES ('x')", errors.NotNullViolation),
        ("INSERT INTO conversations (user_id, chat_id) VALUES (1, 5), (1, 5)", errors.UniqueViolation),
        (
            "INSERT INTO messages (conversation_id, role, content) VALUES (uuidv7(), 'user', 'x')",
            errors.ForeignKeyViolation,
        ),
        (
            "INSERT INTO messages (conversation_id, message_index, role, content) VALUES (uuidv7(), 0, 'user', 'x')",
            errors.ForeignKeyViolation,
        ),
        (
            "INSERT INTO api_keys (name, prefix, hash, scopes) VALUES ('n', '12345678', 'a secret', '{read}')",
            errors.CheckViolation,
        ),
        (
            "INSERT INTO api_keys (name, prefix, hash, scopes) VALUES ('n', '12345678', repeat('0', 64), '{root}')",
            errors.CheckViolation,
        ),
        (
            "INSERT INTO api_keys (name, prefix, hash, scopes) VALUES ('n', '12345678', repeat('0', 64), '{}')",
            errors.CheckViolation,
        ),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(db: Any, statement: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        db.execute(statement)


def test_a_closed_conversation_makes_room_for_the_next_of_its_chat(db: Any) -> None:
    for _ in range(3):
        db.execute("INSERT INTO conversations (user_id, chat_id) VALUES (1, 5)")
        db.execute("UPDATE conversations SET mode = 'closed'")


def test_characters_are_counted_by_the_database(db: Any, conversation: Any) -> None:
    for text in ("", "Привет", "👨‍👩‍👧", "e\u0301"):
        row = one(db, "SELECT character_count FROM append_message(%s, 'user', %s, %s)", conversation, text, Jsonb({}))
        assert row["character_count"] == len(text)
    with pytest.raises(errors.GeneratedAlways):
        db.execute(
            "INSERT INTO messages (conversation_id, role, content, character_count) VALUES (%s, 'user', 'x', 9)",
            [conversation],
        )


def test_a_conversation_that_changes_says_when(db: Any, conversation: Any) -> None:
    before = one(db, "SELECT updated_at FROM conversations")["updated_at"]
    after = one(db, "UPDATE conversations SET title = 'new' RETURNING updated_at")["updated_at"]
    assert after > before
