"""The five calls for sessions and messages, as an integrator meets them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from agents import registry
from conversations import sessions
from tests.answering import an_agent
from tests.api import Caller, refused

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("kept_rows")]

NOWHERE = "00000000-0000-7000-8000-000000000000"


@pytest.fixture
def api() -> Caller:
    return Caller()


def said(page: dict[str, list[dict[str, str]]]) -> list[str]:
    return [message["content"] for message in page["messages"]]


def test_a_session_is_opened_and_found(api: Caller) -> None:
    opened = api.call("POST", "/sessions", {"user_id": 7, "title": "Hello", "metadata": {"a": [1, None, "x"]}})
    assert opened.status_code == 201
    session = opened.json()
    assert {name: session[name] for name in ("user_id", "chat_id", "title", "metadata", "agent", "mode")} == {
        "user_id": 7,
        "chat_id": None,
        "title": "Hello",
        "metadata": {"a": [1, None, "x"]},
        "agent": "relocation",
        "mode": "auto",
    }
    assert (session["message_count"], session["interview_step"], session["last_message_at"]) == (0, 0, None)
    assert abs((datetime.now(UTC) - datetime.fromisoformat(session["created_at"])).total_seconds()) < 60
    found = api.call("GET", f"/sessions/{session['id']}")
    assert found.status_code == 200
    assert found.json() == session


def test_a_chat_has_one_live_session(api: Caller) -> None:
    first = api.call("POST", "/sessions", {"user_id": 7, "chat_id": -100500, "title": "first"})
    again = api.call("POST", "/sessions", {"user_id": 7, "chat_id": -100500, "title": "second"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert api.session(8, chat_id=-100500) != first.json()["id"]
    sessions.close(first.json()["id"], by="test")
    anew = api.call("POST", "/sessions", {"user_id": 7, "chat_id": -100500})
    assert anew.status_code == 201
    assert anew.json()["id"] != first.json()["id"]


def test_without_a_chat_every_call_opens_a_session(api: Caller) -> None:
    assert api.session(7) != api.session(7)


def test_an_agent_that_is_not_there_is_refused(api: Caller) -> None:
    assert refused(api.call("POST", "/sessions", {"user_id": 7, "agent": "nobody"}), 400, "unknown_agent", "agent")


def test_a_key_bound_to_a_user_is_told_no_names_of_agents(api: Caller) -> None:
    name = an_agent().name
    unknown = {"user_id": 7, "agent": "nobody"}
    bound = Caller(user_id=7).call("POST", "/sessions", unknown)
    assert refused(bound, 400, "unknown_agent", "agent")
    assert name not in bound.json()["detail"]
    assert name in api.call("POST", "/sessions", unknown).json()["detail"]


def test_messages_are_appended_and_read_in_order(api: Caller) -> None:
    session = api.session()
    answers = [api.append(session, role, role=role) for role in ("user", "assistant", "system", "tool")]
    assert [answer.status_code for answer in answers] == [201] * 4
    assert [answer.json()["message_index"] for answer in answers] == [0, 1, 2, 3]
    assert answers[0].json()["character_count"] == 4
    page = api.read(session).json()
    assert page["messages"] == [answer.json() for answer in answers]
    assert (page["count"], page["next_after_index"]) == (4, None)
    assert api.call("GET", f"/sessions/{session}").json()["message_count"] == 4


def test_a_repeated_external_id_stores_nothing_twice(api: Caller) -> None:
    session = api.session()
    first = api.append(session, "hi", external_id="a", metadata={"n": 1})
    again = api.append(session, "hi", external_id="a", metadata={"n": 2})
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert refused(api.append(session, "other", external_id="a"), 409, "external_id_taken", "external_id")
    assert refused(api.append(session, "hi", role="tool", external_id="a"), 409, "external_id_taken", "external_id")
    assert api.read(session).json()["count"] == 1


@pytest.mark.parametrize(
    ("query", "expected", "following"),
    [
        ("", "3 4 5 6 7 8 9", None),
        ("?limit=2", "8 9", None),
        ("?after_index=-1&limit=3", "0 1 2", 2),
        ("?after_index=2&limit=3", "3 4 5", 5),
        ("?after_index=6&limit=3", "7 8 9", None),
        ("?after_index=9", "", None),
        ("?before_index=5&limit=2", "3 4", 4),
        ("?before_index=0", "", None),
        ("?before_index=99&limit=1", "9", None),
        ("?after_index=2&before_index=5", "3 4", 4),
        ("?after_index=9007199254740991", "", None),
    ],
)
def test_pages(api: Caller, query: str, expected: str, following: int | None) -> None:
    session = api.session()
    for number in range(10):
        api.append(session, str(number))
    page = api.read(session, query or "?limit=7").json()
    assert (" ".join(said(page)), page["next_after_index"], page["count"]) == (expected, following, 10)


def test_reading_forward_from_the_beginning_meets_every_message_once(api: Caller) -> None:
    session = api.session()
    for number in range(23):
        api.append(session, str(number))
    seen, after = [], -1
    while after is not None:
        page = api.read(session, f"?after_index={after}&limit=5").json()
        seen += said(page)
        after = page["next_after_index"]
    assert seen == [str(number) for number in range(23)]


def test_a_cleared_session_reads_empty_and_counts_on(api: Caller) -> None:
    session = api.session()
    first = api.append(session, external_id="a")
    api.append(session)
    cleared = api.call("DELETE", f"/sessions/{session}/messages")
    assert (cleared.status_code, cleared.json()) == (200, {"cleared": 2})
    assert api.read(session).json() == {"messages": [], "count": 0, "next_after_index": None}
    assert api.call("GET", f"/sessions/{session}").json()["message_count"] == 0
    assert api.call("DELETE", f"/sessions/{session}/messages").json() == {"cleared": 0}
    assert api.append(session).json()["message_index"] == 2
    repeated = api.append(session, external_id="a")
    assert repeated.status_code == 200
    assert repeated.json()["id"] == first.json()["id"]
    assert repeated.json()["deleted_at"]


@pytest.mark.parametrize("id_", [NOWHERE, "01a1fa7b-d0a8-78fe-9897-711c2819520f"])
def test_what_is_not_there_is_not_found(api: Caller, id_: str) -> None:
    assert refused(api.call("GET", f"/sessions/{id_}"), 404, "not_found")
    assert refused(api.read(id_), 404, "not_found")
    assert refused(api.call("DELETE", f"/sessions/{id_}/messages"), 404, "not_found")
    assert refused(api.append(id_), 404, "not_found")


def test_other_addresses_and_methods_are_refused_in_the_same_shape(api: Caller) -> None:
    assert refused(api.call("GET", "/nothing/here"), 404, "not_found")
    assert refused(api.call("GET", "/"), 404, "not_found")
    answer = api.call("PATCH", "/sessions", {"user_id": 1})
    assert refused(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"] == "POST"


def test_a_session_without_an_agent_gets_the_default_one_and_a_named_one_is_shown(api: Caller, settings: Any) -> None:
    assert api.call("GET", f"/sessions/{api.session()}").json()["agent"] == "relocation"
    registry.sync(by="test")
    opened = api.call("POST", "/sessions", {"user_id": 8, "agent": "assistant"})
    assert (opened.status_code, opened.json()["agent"]) == (201, "assistant")
    settings.DEFAULT_AGENT = "gone"
    assert api.call("POST", "/sessions", {"user_id": 9}).json()["agent"] is None
