"""Search over the API and in the terminal: the promised shape, other people's rows unseen, bad input refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import StringIO
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from conversations import log, sessions
from search.embedders import EmbedderError
from tests.api import Caller, refused
from tests.embedding import BagOfWords
from tests.searching import embedder, settle

pytestmark = pytest.mark.django_db

EVIL = "\x1b[31m<b>red</b>\x1b]0;title\x07 \u202e%s"


@pytest.fixture
def bag() -> Iterator[BagOfWords]:
    with embedder() as one:
        yield one


def said(user_id: int, *texts: str) -> UUID:
    conversation, _new = sessions.open(user_id, title=f"Talk of {user_id}")
    for text in texts:
        log.append(conversation.pk, "user", text)
    settle()
    return conversation.pk


def find(caller: Caller, q: str, **more: Any) -> Any:
    answer = caller.call("GET", f"/search?{urlencode({'q': q, **more})}")
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_the_promised_shape(bag: BagOfWords) -> None:
    session = said(7, "The piano was heavy", "Cats sleep")
    found = find(Caller(), "heavy piano")
    assert set(found) == {"results", "mode", "took_ms", "coverage"}
    assert found["mode"] == "hybrid"
    assert found["coverage"] == {"entries": 2, "embedded": 2, "pending": 0, "failed": 0, "stale": 0}
    hit = found["results"][0]
    assert hit["content"] == hit["snippet"] == "The piano was heavy"
    assert [part["text"] for part in hit["parts"] if part["marked"]] == ["piano", "heavy"]
    assert (hit["entity_type"], hit["session_id"], hit["message_index"]) == ("message", str(session), 0)
    assert hit["ranks"] == {"vector": 1, "keyword": 1}
    assert find(Caller(), "heavy piano", mode="keyword")["results"][0]["ranks"] == {"vector": None, "keyword": 1}


def test_a_key_bound_to_a_user_finds_that_users_rows(bag: BagOfWords) -> None:
    mine, theirs = said(7, "The piano was heavy"), said(8, "A piano of theirs")
    everyone, bound = Caller(), Caller(user_id=7)
    assert {hit["session_id"] for hit in find(everyone, "piano")["results"]} == {str(mine), str(theirs)}
    for mode in ("hybrid", "vector", "keyword"):
        assert {hit["session_id"] for hit in find(bound, "piano", mode=mode)["results"]} == {str(mine)}
        assert find(bound, "piano", mode=mode, user_id=8)["results"] == []
        assert find(bound, "piano", mode=mode, session_id=theirs)["results"] == []


@pytest.mark.parametrize("q", ["piano", "nobody said this", "-", '""'])
@pytest.mark.parametrize("mode", ["hybrid", "vector", "keyword"])
def test_a_key_bound_to_a_user_does_not_learn_how_much_others_say(bag: BagOfWords, q: str, mode: str) -> None:
    said(8, "A piano of theirs", "They sleep")
    answer = Caller(user_id=7).call("GET", f"/search?{urlencode({'q': q, 'mode': mode})}")
    before = {**answer.json(), "took_ms": 0}
    assert before["coverage"] is None, "the field is there, and tells nothing"
    said(8, "More of theirs")
    assert find(Caller(user_id=7), q, mode=mode) | {"took_ms": 0} == before


def test_narrowed_to_a_session_a_kind_and_a_number(bag: BagOfWords) -> None:
    mine = said(7, "piano one", "piano two", "piano three")
    said(7, "piano elsewhere")
    found = find(Caller(), "piano", session_id=mine, entity_type="message", limit=2)["results"]
    assert [hit["session_id"] for hit in found] == [str(mine)] * 2


def test_cleared_messages_are_gone(bag: BagOfWords) -> None:
    caller, session = Caller(), said(7, "The piano was heavy")
    caller.call("DELETE", f"/sessions/{session}/messages")
    settle()
    assert find(caller, "piano")["results"] == []


def test_words_are_found_while_the_embedder_is_away(bag: BagOfWords) -> None:
    said(7, "The piano was heavy")
    bag.trouble = EmbedderError("away")
    found = find(Caller(), "piano")
    assert found["degraded"] == ["embeddings_down"]
    assert [hit["ranks"] for hit in found["results"]] == [{"vector": None, "keyword": 1}]


BAD = [
    ("", "missing_field", "q"),
    ("q=", "blank", "q"),
    ("q=%20%E2%80%8B", "blank", "q"),
    ("q=a%00b", "invalid_character", "q"),
    ("q=" + "x" * 2_001, "too_long", "q"),
    ("q=a&mode=psychic", "invalid_value", "mode"),
    ("q=a&mode=", "invalid_value", "mode"),
    ("q=a&entity_type=secret", "invalid_value", "entity_type"),
    ("q=a&entity_type=", "invalid_value", "entity_type"),
    ("q=a&limit=0", "invalid_value", "limit"),
    ("q=a&limit=101", "invalid_value", "limit"),
    ("q=a&limit=1e1", "invalid_value", "limit"),
    ("q=a&user_id=1.5", "invalid_value", "user_id"),
    ("q=a&user_id=9223372036854775808", "invalid_value", "user_id"),
    ("q=a&session_id=1", "invalid_value", "session_id"),
    ("q=a&q=b", "duplicate_field", "q"),
    ("q=a&filters=x", "unknown_field", "filters"),
    ("q=a&sort=content", "unknown_field", "sort"),
]


def test_bad_questions_are_refused_by_name(bag: BagOfWords) -> None:
    caller = Caller()
    for query, code, field in BAD:
        answer = caller.call("GET", f"/search?{query}")
        assert answer.status_code == 400, query
        assert answer.json()["field"] == field, (query, answer.json())
        assert answer.json()["error"] == code, (query, answer.json())


def test_searches_have_a_budget_of_their_own(bag: BagOfWords, settings: Any) -> None:
    settings.API_SEARCHES_PER_MINUTE = 2
    caller = Caller()
    answers = [caller.call("GET", "/search?q=a").status_code for _ in range(3)]
    assert answers == [200, 200, 429]
    assert refused(caller.call("GET", "/search?q=a"), 429, "too_many_requests")


@hypothesis_settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=60), st.sampled_from(["hybrid", "vector", "keyword"]))
def test_no_question_is_an_error_of_ours(bag: BagOfWords, q: str, mode: str) -> None:
    caller = CALLERS.setdefault(0, Caller())
    answer = caller.call("GET", f"/search?mode={mode}&q={quote(q, errors='replace')}")
    assert answer.status_code in {200, 400}, answer.content


CALLERS: dict[int, Caller] = {}


# --- the terminal ---
def terminal(*arguments: str) -> str:
    out = StringIO()
    call_command("search", *arguments, stdout=out, no_color=True)
    return out.getvalue()


def test_the_terminal_tells_place_ranks_and_coverage(bag: BagOfWords) -> None:
    session = said(7, "The piano was heavy", "Cats sleep")
    told = terminal("heavy", "piano", "--exact")
    assert "Talk of 7 #0, user" in told
    assert "meaning #1 (0." in told
    assert "words #1" in told
    assert f"{session}/change/?at=0#m0" in told
    assert "2 of 2 entries can be found by meaning" in told
    assert "recall 100%" in told
    bag.trouble = EmbedderError("away")
    assert "The embedder did not answer" in terminal("piano")


def test_the_terminal_narrows_and_speaks_json(bag: BagOfWords) -> None:
    said(7, "piano of seven")
    said(8, "piano of eight")
    found = json.loads(
        terminal("piano", "--user", "8", "--json", "--type", "message", "--filter", "channel=api", "--exact")
    )
    assert [hit["content"] for hit in found["results"]] == ["piano of eight"]
    assert found["check"]["recall"] == 1.0
    assert json.loads(terminal("piano", "--filter", "message_index=7", "--json"))["results"] == []


def test_what_a_terminal_would_obey_is_spelled_out(bag: BagOfWords) -> None:
    said(7, f"red {EVIL}")
    told = terminal("red")
    assert "\x1b" not in told
    assert "\u202e" not in told
    assert "⟨U+001B⟩" in told


def test_the_terminal_refuses_in_words(bag: BagOfWords) -> None:
    for arguments in (["x", "--limit", "0"], ["x", "--type", "secret"], ["x", "--filter", "after=soon"], ["x" * 2_001]):
        with pytest.raises(CommandError):
            terminal(*arguments)


def test_the_terminal_tells_how_much_cannot_be_found_yet(bag: BagOfWords) -> None:
    session = said(7, "The piano was heavy")
    assert "not indexed" not in terminal("piano")
    log.append(session, "user", "A second piano")
    assert "1 text is not indexed yet" in terminal("piano")
