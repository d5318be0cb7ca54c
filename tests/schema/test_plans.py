"""The hot queries at size: pages touched, not milliseconds, and the index behind each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from conversations import dialogue
from tests import raw

pytestmark = pytest.mark.django_db(transaction=True)

BIG, SMALL = 100_000, 100


@pytest.fixture
def db(transactional_db: None) -> Iterator[psycopg.Connection[Any]]:
    """A conversation of a hundred thousand messages, one of a hundred, and five thousand others."""
    with raw.connect() as connection:
        connection.execute(
            "INSERT INTO conversations (user_id, chat_id, channel, title)"
            " SELECT n, n, 'telegram', CASE n WHEN 1 THEN 'big' WHEN 2 THEN 'small' ELSE '' END"
            " FROM generate_series(1, 5000) n"
        )
        connection.execute(
            "INSERT INTO messages (conversation_id, message_index, role, content, external_id)"
            " SELECT id, n, 'user', 'hello', n::text FROM conversations, LATERAL generate_series(0,"
            f" CASE title WHEN 'big' THEN {BIG - 1} WHEN 'small' THEN {SMALL - 1} ELSE 1 END) n"
        )
        yield connection


def explained(db: psycopg.Connection[Any], query: str, *values: Any) -> dict[str, Any]:
    row = db.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query}", values).fetchone()
    plan: dict[str, Any] = row["QUERY PLAN"][0]["Plan"]
    return plan


def pages(plan: dict[str, Any]) -> int:
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


WINDOWS = [
    "p_limit => 50",
    "p_limit => 50, p_before_index => 60000",
    "p_limit => 50, p_after_index => 60000",
    "p_limit => 50, p_after_index => 99999",
]


def test_a_page_of_a_big_conversation_touches_no_more_than_one_of_a_small(db: psycopg.Connection[Any]) -> None:
    big, small = (
        db.execute("SELECT id FROM conversations WHERE title = %s", [title]).fetchone()["id"]  # type: ignore[index]
        for title in ("big", "small")
    )
    for statistics in ("none", "fresh"):
        if statistics == "fresh":
            db.execute("ANALYZE")
        for window in WINDOWS:
            query = f"SELECT * FROM get_session_messages(%s, {window})"
            of_small = "SELECT * FROM get_session_messages(%s, p_limit => 50)"
            for _ in range(6):  # the first call plans, the sixth may switch to a generic plan
                touched, usual = pages(explained(db, query, big)), pages(explained(db, of_small, small))
            assert touched <= usual + 10, (statistics, window)


def test_the_dialogue_of_a_big_conversation_touches_no_more_than_that_of_a_small(db: psycopg.Connection[Any]) -> None:
    """With answers, without fresh statistics and with them: the newest fifty are read by their index."""
    db.execute(
        "INSERT INTO message_fates (message_id, fate) SELECT id, 'staff' FROM messages WHERE message_index % 2 = 0"
    )
    ids = [
        db.execute("SELECT id FROM conversations WHERE title = %s", [title]).fetchone() for title in ("big", "small")
    ]
    for statistics in ("none", "fresh"):
        if statistics == "fresh":
            db.execute("ANALYZE")
        for _ in range(6):
            touched, usual = (
                pages(explained(db, dialogue.BEFORE, row["id"], 50, []))  # type: ignore[index]
                for row in ids
            )
        assert touched <= usual + 20, statistics


def test_pages_stay_small_where_much_was_deleted(db: psycopg.Connection[Any]) -> None:
    big = db.execute("SELECT id FROM conversations WHERE title = 'big'").fetchone()["id"]  # type: ignore[index]
    db.execute("UPDATE messages SET deleted_at = now() WHERE conversation_id = %s AND message_index < 50000", [big])
    db.execute("VACUUM ANALYZE messages")
    query = "SELECT * FROM get_session_messages(%s, p_limit => 50)"
    assert [pages(explained(db, query, big)) for _ in range(3)][-1] < 60
    db.execute("UPDATE messages SET deleted_at = now() WHERE conversation_id = %s AND deleted_at IS NULL", [big])
    assert [pages(explained(db, query, big)) for _ in range(3)][-1] < 10


HOT = {
    "SELECT * FROM messages WHERE conversation_id = %(id)s AND message_index >= 10 AND message_index < 60"
    " ORDER BY message_index": "messages_one_per_index",
    "SELECT * FROM messages WHERE conversation_id = %(id)s AND external_id = '77'": "messages_one_per_external_id",
    "SELECT * FROM conversations ORDER BY last_message_at DESC NULLS LAST, id DESC LIMIT 100": (
        "conversations_staff_list"
    ),
    "SELECT * FROM conversations WHERE NOT mode = 'closed' AND channel = 'telegram' AND chat_id = 7"
    " AND user_id = 7": "conversations_one_live_per_chat",
    "SELECT id FROM conversations WHERE user_id = 7": "conversations_user",
    "UPDATE conversations SET message_count = message_count WHERE id = %(id)s": "conversations_pkey",
}


def test_each_hot_query_has_its_index(db: psycopg.Connection[Any]) -> None:
    db.execute("ANALYZE")
    small = db.execute("SELECT id FROM conversations WHERE title = 'small'").fetchone()["id"]  # type: ignore[index]
    for query, index in HOT.items():
        row = db.execute(f"EXPLAIN (FORMAT JSON) {query}", {"id": small}).fetchone()
        plan = list(nodes(row["QUERY PLAN"][0]["Plan"]))  # type: ignore[index]
        assert index in {node.get("Index Name") for node in plan}, query
        assert not {"Seq Scan", "Sort"} & {node["Node Type"] for node in plan}, query


def test_a_user_bound_page_costs_little_more(db: psycopg.Connection[Any]) -> None:
    db.execute("ANALYZE")
    big = db.execute("SELECT id, user_id FROM conversations WHERE title = 'big'").fetchone()
    with db.transaction():
        db.execute("SELECT set_config('role', 'parley_client', true), set_config('parley.user_id', '1', true)")
        plan = explained(db, "SELECT * FROM get_session_messages(%s, p_limit => 50)", big["id"])  # type: ignore[index]
    assert plan["Actual Rows"] == 50
    assert pages(plan) < 400
