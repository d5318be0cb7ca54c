"""What became of a message is final, for whoever reaches the database."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import errors
from psycopg.rows import DictRow

from conversations import erasure, fates
from conversations.models import Fate
from tests import raw

pytestmark = pytest.mark.django_db(transaction=True)

FINAL = [fate for fate in Fate if fate != Fate.FAILED]


@pytest.fixture
def db(transactional_db: None) -> Iterator[psycopg.Connection[DictRow]]:
    with raw.connect() as connection:
        yield connection


def said(db: psycopg.Connection[DictRow], fate: str) -> DictRow:
    """A message with its fate."""
    talk = db.execute("INSERT INTO conversations (user_id) VALUES (1) RETURNING id").fetchone()
    assert talk
    found = db.execute(
        "INSERT INTO messages (conversation_id, role, content, inbound) VALUES (%s, 'user', 'hi', true)"
        " RETURNING conversation_id AS conversation, id AS message",
        [talk["id"]],
    ).fetchone()
    assert found
    db.execute(
        "INSERT INTO message_fates (message_id, fate, turn_id) VALUES (%s, %s, uuidv7())", [found["message"], fate]
    )
    return found


@pytest.fixture
def skipped(db: psycopg.Connection[DictRow]) -> DictRow:
    return said(db, "skipped")


def known(db: psycopg.Connection[DictRow]) -> list[str]:
    return [row["fate"] for row in db.execute("SELECT fate FROM message_fates ORDER BY id").fetchall()]


ATTACKS = {
    "another fate": "UPDATE message_fates SET fate = 'answered'",
    "the same one again": "UPDATE message_fates SET updated_at = clock_timestamp()",
    "another reason": "UPDATE message_fates SET rule = 'because'",
    "no row": "DELETE FROM message_fates",
    "no rows": "TRUNCATE message_fates",
    "an upsert": "INSERT INTO message_fates (message_id, fate) SELECT message_id, 'cleared' FROM message_fates"
    " ON CONFLICT (message_id) DO UPDATE SET fate = EXCLUDED.fate",
    "a second one": "INSERT INTO message_fates (message_id, fate) SELECT message_id, 'staff' FROM message_fates",
    "a merge": "MERGE INTO message_fates AS f USING messages AS m ON m.id = f.message_id WHEN MATCHED THEN DELETE",
    "its message": "DELETE FROM messages",
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_fate_does_not_change(db: psycopg.Connection[DictRow], skipped: DictRow, attack: str) -> None:
    with pytest.raises(errors.IntegrityError):
        db.execute(ATTACKS[attack])  # type: ignore[arg-type]
    assert known(db) == ["skipped"]


@pytest.mark.parametrize("attack", ["no row", "no rows", "another fate", "a merge"])
def test_not_even_while_something_is_erased(db: psycopg.Connection[DictRow], skipped: DictRow, attack: str) -> None:
    db.execute("SET parley.erasing = 'on'")
    with pytest.raises(errors.RestrictViolation):
        db.execute(ATTACKS[attack])  # type: ignore[arg-type]
    assert known(db) == ["skipped"]


@pytest.mark.parametrize("later", list(Fate))
def test_what_failed_may_still_end_otherwise(db: psycopg.Connection[DictRow], later: Fate) -> None:
    message = {"message_id": str(said(db, "failed")["message"])}
    turn = db.execute("SELECT uuidv7() AS id").fetchone()
    assert turn
    fates.record([message], later, turn_id=turn["id"])
    assert known(db) == [later]


@pytest.mark.parametrize("column", ["id", "message_id", "created_at"])
def test_and_is_still_the_fate_of_the_same_message(db: psycopg.Connection[DictRow], column: str) -> None:
    said(db, "failed")
    other = "clock_timestamp()" if column == "created_at" else "uuidv7()"
    with pytest.raises(errors.RestrictViolation, match="final"):
        db.execute(f"UPDATE message_fates SET {column} = {other}")  # type: ignore[arg-type]


@pytest.mark.parametrize("first", FINAL)
def test_a_second_look_at_a_final_one_is_no_error_and_no_change(db: psycopg.Connection[DictRow], first: Fate) -> None:
    message = {"message_id": str(said(db, first)["message"])}
    fates.record([message], Fate.CLEARED)
    assert known(db) == [first]


def test_erasing_a_conversation_takes_its_fates_and_no_other(db: psycopg.Connection[DictRow], skipped: DictRow) -> None:
    said(db, "staff")
    erasure.erase(skipped["conversation"], by="anna", reason="asked")
    assert known(db) == ["staff"]


def test_an_end_user_cannot_touch_them(transactional_db: None) -> None:
    """Even where somebody grants too much, and the user says that something is erased."""
    with raw.connect(autocommit=False) as session:
        said(session, "skipped")
        session.execute("GRANT ALL ON message_fates TO parley_client")
        session.execute("SELECT set_config('role', 'parley_client', true), set_config('parley.user_id', '1', true)")
        session.execute("SELECT set_config('parley.erasing', 'on', true)")
        with pytest.raises(errors.RestrictViolation):
            session.execute("DELETE FROM message_fates")
        session.rollback()
