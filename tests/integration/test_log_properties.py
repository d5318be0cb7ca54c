"""The log against a list in memory: whatever is done in whatever order, through our verbs or through SQL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from conversations import log, sessions
from tests import raw

pytestmark = pytest.mark.django_db(transaction=True)

often = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
ROLE = st.sampled_from(["user", "assistant", "system", "tool"])
EXTERNAL = st.none() | st.sampled_from(["a", "b", "c", "d"])
MESSAGE = st.fixed_dictionaries({"role": ROLE, "content": TEXT, "external_id": EXTERNAL})
INDEX = st.none() | st.integers(-2, 30)
PAGE = st.fixed_dictionaries(
    {
        "limit": st.none() | st.integers(0, 12),
        "after_index": INDEX,
        "before_index": INDEX,
        "include_deleted": st.booleans(),
    }
)
DEEDS = st.lists(
    st.tuples(st.just("append"), MESSAGE)
    | st.tuples(st.just("append by sql"), MESSAGE)
    | st.tuples(st.just("batch"), st.lists(MESSAGE, max_size=5))
    | st.tuples(st.just("batch by sql"), st.lists(MESSAGE, max_size=5))
    | st.tuples(st.just("read"), PAGE)
    | st.tuples(st.just("clear"), st.none()),
    max_size=15,
)


@dataclass
class Model:
    """What the log should be."""

    rows: list[dict[str, Any]] = field(default_factory=list)

    def append(self, message: dict[str, Any]) -> int | None:
        """The index it gets, or None where it must be refused."""
        for row in self.rows:
            if message["external_id"] is not None and row["external_id"] == message["external_id"]:
                same = (row["role"], row["content"]) == (message["role"], message["content"])
                return row["index"] if same else None
        self.rows.append({**message, "index": len(self.rows), "deleted": False})
        return len(self.rows) - 1

    def batch(self, messages: list[dict[str, Any]]) -> list[int | None] | None:
        before = list(self.rows)
        indexes = [self.append(message) for message in messages]
        if None in indexes:
            self.rows = before
            return None
        return indexes

    def read(self, limit: int | None, after_index: int | None, before_index: int | None, include_deleted: bool) -> Any:
        page = [
            (row["index"], row["role"], row["content"])
            for row in self.rows
            if (include_deleted or not row["deleted"])
            and (after_index is None or row["index"] > after_index)
            and (before_index is None or row["index"] < before_index)
        ]
        if limit is None:
            return page
        return page[:limit] if after_index is not None else page[max(0, len(page) - limit) :]

    def clear(self) -> int:
        fresh = [row for row in self.rows if not row["deleted"]]
        for row in fresh:
            row["deleted"] = True
        return len(fresh)


@pytest.fixture
def sql(transactional_db: None) -> Iterator[psycopg.Connection[DictRow]]:
    with raw.connect() as connection:
        yield connection


@often
@given(deeds=DEEDS)
def test_the_log_is_the_list_it_should_be(sql: psycopg.Connection[DictRow], deeds: list[tuple[str, Any]]) -> None:
    conversation = sessions.open(1)[0].pk
    model = Model()
    for deed, value in deeds:
        match deed:
            case "append":
                assert appended(conversation, value) == model.append(value)
            case "append by sql":
                assert appended_by_sql(sql, conversation, value) == model.append(value)
            case "batch":
                assert batched(conversation, value) == model.batch(value)
            case "batch by sql":
                assert batched_by_sql(sql, conversation, value) == model.batch(value)
            case "read":
                assert pages(sql, conversation, value) == [model.read(**value)] * 2
            case "clear":
                assert log.clear(conversation, by="test") == model.clear()
    everything = {"limit": None, "after_index": None, "before_index": None, "include_deleted": True}
    assert pages(sql, conversation, everything) == [[(r["index"], r["role"], r["content"]) for r in model.rows]] * 2
    visible = sum(not row["deleted"] for row in model.rows)
    (counted,) = sql.execute("SELECT get_session_message_count(%s) AS n", [conversation]).fetchall()
    assert log.count(conversation) == counted["n"] == visible


def appended(conversation: UUID, message: dict[str, Any]) -> int | None:
    try:
        with transaction.atomic():
            return log.append(conversation, **message).message_index
    except log.ExternalIdTakenError:
        return None


def appended_by_sql(sql: psycopg.Connection[DictRow], conversation: UUID, message: dict[str, Any]) -> int | None:
    call = "SELECT message_index FROM append_message(%s, %s, %s, p_external_id => %s)"
    try:
        row = sql.execute(call, [conversation, message["role"], message["content"], message["external_id"]]).fetchone()
    except psycopg.errors.UniqueViolation:
        return None
    assert row is not None
    return int(row["message_index"])


def batched(conversation: UUID, messages: list[dict[str, Any]]) -> list[int] | None:
    try:
        with transaction.atomic():
            return [entry.message_index for entry in log.append_many(conversation, messages)]
    except log.ExternalIdTakenError:
        return None


def batched_by_sql(
    sql: psycopg.Connection[DictRow], conversation: UUID, messages: list[dict[str, Any]]
) -> list[int] | None:
    try:
        rows = sql.execute("SELECT message_index FROM append_messages(%s, %s)", [conversation, Jsonb(messages)])
    except psycopg.errors.UniqueViolation:
        return None
    return [row["message_index"] for row in rows]


def pages(sql: psycopg.Connection[DictRow], conversation: UUID, page: dict[str, Any]) -> list[Any]:
    """The same page by our verb and by the SQL function."""
    by_verb = [(entry.message_index, entry.role, entry.content) for entry in log.history(conversation, **page)]
    by_sql = sql.execute(
        "SELECT message_index, role, content FROM get_session_messages(%(conversation)s, %(limit)s::integer,"
        " %(after_index)s::bigint, %(before_index)s::bigint, %(include_deleted)s)",
        {"conversation": conversation, **page},
    ).fetchall()
    return [by_verb, [tuple(row.values()) for row in by_sql]]


@often
@given(messages=st.lists(st.tuples(ROLE, TEXT), max_size=8), cut=st.integers(0, 8), change=st.integers(0, 8))
def test_a_saved_list_is_stored_or_refused_but_never_replaces(
    transactional_db: None, messages: list[tuple[str, str]], cut: int, change: int
) -> None:
    conversation = sessions.open(1)[0].pk
    told = [{"role": role, "content": content} for role, content in messages]
    log.save_session(conversation, told[:cut])
    given_ = [{**m, "content": m["content"] + "!"} if n == change else m for n, m in enumerate(told)]
    contradicts = change < min(cut, len(told))
    try:
        log.save_session(conversation, given_)
        assert not contradicts
    except log.HistoryConflictError:
        assert contradicts
    stored = [{"role": entry.role, "content": entry.content} for entry in log.history(conversation)]
    assert stored == (told[:cut] if contradicts else given_)


@often
@given(start=st.integers(0, 40), step=st.integers(1, 9), gone=st.sets(st.integers(0, 39)))
def test_paging_meets_every_message_once_in_both_directions_whatever_the_times(
    transactional_db: None, start: int, step: int, gone: set[int]
) -> None:
    """All rows of a batch have one time: order must not lean on it."""
    conversation = sessions.open(1)[0].pk
    with raw.connect() as sql:
        sql.execute(
            "INSERT INTO messages (conversation_id, message_index, role, content, created_at)"
            " SELECT %s, n, 'user', n::text, '2026-01-01' FROM generate_series(0, 39) AS n ORDER BY random()",
            [conversation],
        )
        sql.execute(
            "UPDATE messages SET deleted_at = now() WHERE conversation_id = %s AND message_index = ANY(%s)",
            [conversation, list(gone)],
        )
    forward, backward = [start - 1], [start]
    while page := log.history(conversation, limit=step, after_index=forward[-1]):
        forward.extend(entry.message_index for entry in page)
    while page := log.history(conversation, limit=step, before_index=backward[0]):
        backward[:0] = [entry.message_index for entry in page]
    assert forward[1:] == [n for n in range(start, 40) if n not in gone]
    assert backward[:-1] == [n for n in range(start) if n not in gone]
