"""Searching what was said: by meaning and by word, under filters, with as little as there is, and as oneself."""

from __future__ import annotations

import dataclasses
from datetime import UTC, date, datetime, timedelta
from itertools import product
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import pytest
from django.db import connection, transaction

from agents.models import Agent
from agents.rights import of_user
from agents.tools import Call
from conversations import log, sessions
from conversations.buffering import flush_now, receive
from conversations.models import Message, Turn
from conversations.recalling import own_messages
from entities.schema.notes import Note
from search import embedders, legs, metrics, spaces
from search.declarations import declared, keys_are_uuids
from search.embedders import EmbedderError
from search.models import Entry, Pending, Space
from search.query import MODES, exact_check, more_like, search
from tests import raw
from tests.answering import an_agent
from tests.searching import embedder, find, settle, texts

pytestmark = pytest.mark.django_db(transaction=True)


def said(*lines: str, user: int = 1, role: str = "user", **columns: Any) -> Any:
    chat = sessions.open(user, **columns)[0].pk
    for line in lines:
        log.append(chat, role, line)
    return chat


def test_both_ways_are_fused_and_both_ranks_are_told() -> None:
    with embedder() as bag:
        said("relocation stress is real", "the cat sleeps", "no stress at all today")
        settle()
        found = search("relocation stress")
        assert found.hits[0].content == "relocation stress is real"
        assert found.hits[0].ranks == {"vector": 1, "keyword": 1}
        assert found.hits[0].similarity == pytest.approx(
            sum(a * b for a, b in zip(bag.vector("relocation stress"), bag.vector("relocation stress is real"),
                              strict=True)), abs=1e-4)  # fmt: skip
        assert [hit.score for hit in found.hits] == sorted((hit.score for hit in found.hits), reverse=True)
        assert found.degraded == ()
        assert (found.scan, found.space) == ("exact", "bag-of-words")
        assert {"embed", "vector", "keyword", "load"} <= set(found.timings)
        assert texts(search("cat", mode="vector"))[0] == "the cat sleeps"
        assert texts(search("cat", mode="keyword")) == ["the cat sleeps"]


FILTERS: list[tuple[dict[str, Any], set[str]]] = [
    ({"user_id": 2}, {"tea two"}),
    ({"user_id": 3}, set()),
    ({"entity_types": ["message"]}, {"tea one", "tea two", "tea bot"}),
    ({"entity_types": []}, set()),
    ({"filters": {"role": "assistant"}}, {"tea bot"}),
    ({"filters": {"deleted": "with"}}, {"tea one", "tea two", "tea bot", "tea gone"}),
    ({"filters": {"deleted": "only"}}, {"tea gone"}),
    ({"filters": {"after": date(2040, 1, 1)}}, set()),
    ({"filters": {"before": "2040-01-01"}}, {"tea one", "tea two", "tea bot"}),
    ({"filters": {"before": datetime(2020, 1, 1, tzinfo=UTC)}}, set()),
    ({"filters": {"metadata": {"channel": "telegram"}}}, {"tea two"}),
    ({"filters": {"metadata": {"message_index": 0}, "role": "user"}}, {"tea one", "tea two"}),
    ({"filters": {"metadata": {"role": "%"}}}, set()),
]


@pytest.mark.parametrize("mode", ["hybrid", "vector", "keyword"])
@pytest.mark.parametrize("exact", [True, False])
def test_filters_narrow_and_never_starve(mode: str, exact: bool) -> None:
    with embedder():
        said("tea one")
        said("tea two", user=2, chat_id=5, channel="telegram")
        said("tea bot", role="assistant")
        log.clear(said("tea gone"), by="test")
        settle()
        spaces.step()
        with patch.object(legs, "few", lambda _scope: exact):
            for options, expected in FILTERS:
                assert set(find("tea", mode=mode, **options)) == expected, options


def test_a_conversation_and_an_agent_can_be_chosen() -> None:
    chat = said("tea one")
    said("tea two")
    settle()
    assert find("tea", filters={"session_id": str(chat)}) == ["tea one"]


def test_what_names_no_agent_is_found_under_the_default_one_as_it_is_now(settings: Any) -> None:
    one, other = an_agent(), an_agent()
    with embedder():
        said("tea of nobody")
        said("tea of one", agent_id=one.pk)
        said("tea of other", agent_id=other.pk)
        settle()
        spaces.step()

        def under(agent: Agent, **more: Any) -> set[str]:
            ways = []
            for mode, exact in product(("hybrid", "vector", "keyword"), (True, False)):
                with patch.object(legs, "few", lambda _scope, exact=exact: exact):
                    ways.append(set(find("tea", mode=mode, filters={"agent": agent.pk, **more})))
            assert all(way == ways[0] for way in ways)
            return ways[0]

        settings.DEFAULT_AGENT = one.name
        assert under(one) == {"tea of nobody", "tea of one"}
        assert under(one, role="assistant") == under(one, metadata={"channel": "none"}) == set()
        assert under(other) == {"tea of other"}
        settings.DEFAULT_AGENT = other.name
        assert under(one) == {"tea of one"}, "the setting moved, and they with it"
        assert under(other, role="user") == {"tea of nobody", "tea of other"}
        assert find("tea", filters={"agent": ""}) == ["tea of nobody"]
        settings.DEFAULT_AGENT = "nobody"
        assert under(one) == {"tea of one"}


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("mode", {"mode": "fuzzy"}),
        ("limit", {"limit": 0}),
        ("limit", {"limit": 101}),
        ("limit", {"limit": True}),
        ("user_id", {"user_id": "1 OR 1=1"}),
        ("user_id", {"user_id": 2**63}),
        ("entity_types", {"entity_types": ["password"]}),
        ("entity_types", {"entity_types": "message"}),
        ("user_id; DROP", {"filters": {"user_id; DROP": 1}}),
        ("session_id", {"filters": {"session_id": "x"}}),
        ("role", {"filters": {"role": "a\0b"}}),
        ("role", {"filters": {"role": ["user"]}}),
        ("after", {"filters": {"after": "yesterday"}}),
        ("after", {"filters": {"after": "2024-99-99"}}),
        ("deleted", {"filters": {"deleted": "maybe"}}),
        ("metadata", {"filters": {"metadata": {"a": {"b": 1}}}}),
        ("metadata", {"filters": {"metadata": {"a": float("nan")}}}),
        ("metadata", {"filters": {"metadata": {str(n): n for n in range(11)}}}),
        ("metadata", {"filters": {"metadata": [1]}}),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(field: str, options: dict[str, Any]) -> None:
    from search.query import SearchError

    settle()
    with pytest.raises(SearchError) as refused:
        search("tea", **options)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a\0b", "cannot be looked for"),
        ("\ud800", "cannot be looked for"),
        ("x" * 2001, "text of at most"),
        (None, "text of at most"),
    ],
)
def test_a_question_that_is_no_text_is_refused(text: Any, says: str) -> None:
    from search.query import SearchError

    with pytest.raises(SearchError, match=says):
        search(text)


def test_with_nothing_indexed_nothing_is_found() -> None:
    assert search("tea").hits == []
    settle()
    assert search("tea").hits == []


@pytest.mark.parametrize("trouble", [EmbedderError("dead"), EmbedderError("no", permanent=True, retry_after=60)])
def test_an_embedder_that_does_not_answer_leaves_the_words(trouble: EmbedderError) -> None:
    with embedder() as bag:
        said("tea one")
        settle()
        bag.trouble = trouble
        for mode in ("hybrid", "vector"):
            found = search("tea", mode=mode)
            assert texts(found) == ["tea one"]
            assert found.degraded == ("embeddings_down",)
        assert search("tea", mode="keyword").degraded == ()


@pytest.mark.parametrize("bad", [[1.0] * 63, [float("nan")] * 64, [0.0] * 64, [1e39] * 64, []])
def test_a_query_vector_that_makes_no_sense_is_not_compared(bad: list[float]) -> None:
    with embedder() as bag:
        said("tea one")
        settle()
        with patch.object(bag, "vector", lambda _text: bad):
            assert search("tea").degraded == ("embeddings_down",)


def test_what_is_missing_is_named() -> None:
    said("tea one")
    settle()
    assert search("tea").degraded == ("embeddings_off",)
    with embedder() as bag:
        spaces.ensure_current()
        assert "incomplete" in search("tea").degraded
        settle()
        assert search("tea").degraded == ()
        with patch.object(embedders, "of", lambda *_of: None):
            assert search("tea").degraded == ("other_model",)
        assert search("tea").coverage.share == 1.0
        assert bag.asked


def test_without_a_valid_index_many_vectors_are_compared_one_by_one_and_it_is_told() -> None:
    with embedder():
        said("tea one")
        settle()
        with patch.object(legs, "few", lambda _scope: False):
            assert "no_index" in search("tea").degraded
            spaces.step()
            assert search("tea").scan == "index"
            assert search("tea").degraded == ()


def test_a_search_that_takes_too_long_does_not_cost_the_other() -> None:
    with embedder():
        said("tea one")
        settle()

        def sleep(*_args: Any) -> Any:
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL statement_timeout = '20ms'; SELECT pg_sleep(20)")

        with patch.object(legs, "by_vector", lambda *_args, **_more: sleep()):
            found = search("tea")
            assert texts(found) == ["tea one"]
            assert found.degraded == ("timeout",)
            assert search("tea", mode="vector").hits == []
        assert find("tea") == ["tea one"]


def test_its_settings_end_with_it_even_inside_a_transaction() -> None:
    said("tea one")
    settle()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('statement_timeout')")
        before = cursor.fetchone()
        assert find("tea") == ["tea one"]
        cursor.execute("SELECT current_setting('statement_timeout')")
        assert cursor.fetchone() == before
        said("tea two")
    assert Message.objects.count() == 2, "the caller's own work is not rolled back"


def test_more_like_this_tells_the_nearest_and_not_itself() -> None:
    with embedder():
        said("moving to a new flat", "we are moving to a flat", "the cat sleeps")
        settle()
        first = search("moving new flat", mode="keyword").hits[0]
        near = more_like("message", first.entity_id)
        assert first.entity_id not in {hit.entity_id for hit in near.hits}
        assert near.hits[0].content == "we are moving to a flat"
        assert more_like("message", uuid4()).degraded == ("incomplete",)


def test_the_exact_check_tells_what_the_index_finds() -> None:
    with embedder():
        said(*(f"tea number {number}" for number in range(40)))
        settle()
        spaces.step()
        check = exact_check("tea number 7", limit=10)
        assert check.candidates == 40
        assert len(check.exact) == len(check.indexed) == 10
        assert check.recall >= 0.9
        assert check.scan == "exact"


def test_a_long_text_is_found_by_its_end_and_is_one_hit() -> None:
    with embedder():
        said("The beginning is dull. " * 80 + "But the porcupine comes last.")
        settle()
        [hit] = search("porcupine").hits
        assert hit.chunk > 0
        assert "porcupine" in hit.content
        assert Entry.objects.count() > 1


def test_texts_that_look_the_same_are_the_same() -> None:
    said("Cafe\u0301 in Zu\u0308rich")
    settle()
    assert find("café") == find("cafe\u0301") == ["Café in Zürich"]


def test_a_message_says_what_it_can_be_filtered_by_and_where_it_is() -> None:
    chat = said("first", "tea one")
    settle()
    [hit] = search("tea").hits
    assert {**hit.metadata} == {
        "role": "user", "agent": "", "channel": "api", "conversation_id": str(chat), "message_index": 1,
    }  # fmt: skip
    assert declared()["message"].link(hit) == f"/admin/conversations/conversation/{chat}/change/?at=1#m1"
    assert hit.at
    assert abs(hit.at - Message.objects.get(message_index=1).created_at) < timedelta(milliseconds=1)


def test_what_tools_answered_is_not_indexed() -> None:
    said("tea tool", role="tool")
    said("tea system", role="system")
    settle()
    assert find("tea") == ["tea system"]


def test_a_key_bound_to_a_user_finds_that_users_rows_alone_whatever_it_asks_for() -> None:
    with embedder():
        said("my tea", user=1)
        said("their tea", user=2)
        settle()
        spaces.step()
        for exact in (True, False):
            with patch.object(legs, "few", lambda _scope, exact=exact: exact):
                for asked in (None, 1, 2):
                    with transaction.atomic(), of_user(1):
                        own = ["my tea"] if asked != 2 else []
                        assert find("tea", user_id=asked) == own
                        assert [hit.content for hit in search("tea", user_id=asked, mode="vector").hits] == own


def test_rows_of_nobody_are_found_where_nobody_is_asked_for_and_not_as_somebodys() -> None:
    Note.objects.create(title="opening hours", text="tea from nine")
    Note.objects.create(title="mine", text="tea at home", created_by=7)
    with embedder():
        settle()
        for mode in MODES:
            assert len(find("tea", mode=mode)) == 2
            [own] = find("tea", mode=mode, user_id=7)
            assert "at home" in own


def test_a_model_whose_key_is_no_uuid_is_refused_before_a_trigger_fails() -> None:
    assert keys_are_uuids() == []
    integer = dataclasses.replace(declared()["message"], entity_type="group", model="auth.Group")
    with patch.dict("search.declarations._DECLARED", {"group": integer}):
        [error] = keys_are_uuids()
    assert (error.id, "auth.Group" in error.msg, "UUIDField" in error.hint) == ("parley.E011", True, True)


def test_doctor_tells_where_capitals_of_other_alphabets_are_not_found() -> None:
    assert metrics.letters().ok
    with patch("search.metrics.FOLDS", """SELECT lower('Д' COLLATE "C") = 'д'"""):
        assert "only as they are written" in metrics.letters().detail


def test_recall_leaves_out_what_the_model_is_shown_anyway(settings: Any) -> None:
    """The best hit was the very message that is being answered, then the history."""
    settings.INTERVIEW_HISTORY_LIMIT = 2
    said("tea long ago", user=1)
    chat = sessions.open(1)[0].pk
    for text in ("tea at the beginning", "tea shown", "tea shown, too"):
        log.append(chat, "user", text)
    receive(chat, "which tea?")
    receive(chat, "the green tea?")
    flush_now(chat, 0, by="test")
    turn = Turn.objects.get()
    with embedder():
        settle()
        with transaction.atomic(), of_user(1):
            hits = own_messages(Call(turn.pk, 1, chat, 1), "tea", 5)
    assert sorted(hit.text for hit in hits) == ["tea at the beginning", "tea long ago"]


def test_the_database_itself_hides_other_peoples_entries() -> None:
    with embedder():
        said("my tea", user=1)
        said("their tea", user=2)
        settle()
    with raw.connect(autocommit=False) as db:
        db.execute("SET LOCAL ROLE parley_client")
        assert db.execute("SELECT * FROM search_index").fetchall() == []
        db.execute("SELECT set_config('parley.user_id', '1', true)")
        assert [row["content"] for row in db.execute("SELECT content FROM search_index")] == ["my tea"]
        chat = db.execute("SELECT id FROM conversations").fetchone()
        assert chat
        db.execute(
            "SELECT append_message(%s, 'user', 'through SQL')", [chat["id"]]
        )  # the trigger has the right to note
        db.commit()
        for table in ("search_pending", "search_unembedded"):
            db.execute("SET LOCAL ROLE parley_client")
            with pytest.raises(Exception, match="permission denied"):
                db.execute(f"SELECT * FROM {table}")
            db.rollback()
        db.execute("SET LOCAL ROLE parley_client")
        with pytest.raises(Exception, match="permission denied"):
            db.execute("UPDATE search_index SET user_id = 1")
        db.rollback()
    assert Pending.objects.count() == 1
    settle()
    assert find("SQL") == ["through SQL"]


def test_raw_sql_as_seed_programs_write_it_works() -> None:
    with embedder() as bag:
        said("moving to a new flat", "the cat sleeps")
        settle()
        vector = str(bag.vector("cat"))
    with raw.connect() as db:
        rows = db.execute(
            "SELECT * FROM search_index WHERE user_id = 1 ORDER BY embedding <=> %s::vector LIMIT 10", [vector]
        ).fetchall()
        assert [row["content"] for row in rows] == ["the cat sleeps", "moving to a new flat"]
        db.execute(
            "INSERT INTO search_index (entity_type, entity_id, content, metadata, user_id)"
            " VALUES ('idea', uuidv7(), 'written by hand', '{}', 1)"
        )
    assert find("hand") == ["written by hand"]
    assert Space.objects.count() == 1
