"""Over HTTP: what the person says is answered as a whole, and every step of it can be followed."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from conversations import keys, takeover
from conversations.api import limits
from conversations.api.errors import ApiError
from conversations.models import Conversation, Message, Turn
from tests import raw
from tests.api import Caller, refused
from tests.conversing import agent, quiet
from tests.patience import PATIENCE
from tests.processes import eventually
from tests.web import Site, serving

pytestmark = pytest.mark.django_db


def say(caller: Caller, session: str, content: str, **more: Any) -> Any:
    return caller.call("POST", f"/sessions/{session}/inbound", {"content": content, **more})


def turns(caller: Caller, session: str, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = caller.call("GET", f"/sessions/{session}/turns{query}").json()["turns"]
    return found


@pytest.mark.parametrize("bound", [False, True])
def test_a_burst_is_answered_once_and_its_turn_tells_the_story(bound: bool) -> None:
    caller = Caller(user_id=1 if bound else None)
    session = caller.session(user_id=1)
    first = say(caller, session, "Hello", external_id="one")
    assert first.status_code == 202
    assert first.json()["flush_at"]
    assert (first.json()["message"]["message_index"], first.json()["fate"]) == (0, None)
    assert json.loads(first.json()["flush_id"]) == [1, session, 0, 0]
    typed = caller.call("POST", f"/sessions/{session}/typing", {"activity": "typing"})
    assert typed.status_code == 202
    assert typed.json()["flush_at"] > first.json()["flush_at"]
    again = say(caller, session, "Hello", external_id="one")
    assert again.json()["message"]["id"] == first.json()["message"]["id"]
    say(caller, session, "are you there?")
    with agent():
        quiet()
    (turn,) = turns(caller, session)
    assert turn["message_indexes"] == [0, 1]
    assert (turn["status"], turn["trigger"], turn["reply_index"]) == ("done", "debounce", 2)
    assert turn["lateness_ms"] >= 0
    assert turn["extended_by_typing"] == 1
    assert caller.read(session).json()["messages"][2]["content"] == "Hello | are you there?"


def test_clearing_by_a_bound_key_takes_the_open_burst_along() -> None:
    caller = Caller(user_id=1)
    session = caller.session(user_id=1)
    say(caller, session, "forget this")
    assert caller.call("DELETE", f"/sessions/{session}/messages").json() == {"cleared": 1}
    with agent() as asked:
        quiet()
    assert asked.bursts == []


def test_staff_and_commands_are_told_apart() -> None:
    caller = Caller()
    session = caller.session()
    assert say(caller, session, "/start").json()["command"] == "start"
    takeover.take_over(Conversation.objects.get().pk, by="anna")
    left = say(caller, session, "help").json()
    assert (left["fate"], left["flush_at"]) == ("staff", None)
    Conversation.objects.update(mode="closed")
    assert refused(say(caller, session, "hello?"), 409, "session_closed")


@pytest.mark.parametrize("text", ["", "  ", "\u200b", "\u2800"])
def test_blank_input_is_refused_and_stores_nothing(text: str) -> None:
    caller = Caller()
    session = caller.session()
    assert say(caller, session, text).status_code == 400
    assert Message.objects.count() == 0


def test_what_is_not_an_activity_is_refused() -> None:
    caller = Caller()
    session = caller.session()
    path = f"/sessions/{session}/typing"
    assert refused(caller.call("POST", path, {"activity": "dancing"}), 400, "invalid_value", "activity")
    assert caller.call("POST", path, {"activity": "cancel"}).json() == {"flush_at": None}


@pytest.mark.parametrize("call", ["inbound", "typing", "turns", "events"])
def test_another_users_session_is_not_there(call: str) -> None:
    session = Caller().session(user_id=2)
    stranger = Caller(user_id=1)
    bodies = {"inbound": {"content": "hi"}, "typing": {"activity": "typing"}}
    method = "POST" if call in bodies else "GET"
    answer = stranger.call(method, f"/sessions/{session}/{call}", bodies.get(call, b""))
    assert refused(answer, 404, "not_found")
    assert Message.objects.count() == 0


def test_the_latest_turns_are_in_order_and_bounded() -> None:
    caller = Caller()
    session = caller.session()
    with agent():
        for number in range(5):
            say(caller, session, str(number))
            quiet()
    assert [turn["message_indexes"] for turn in turns(caller, session, "?limit=2")] == [[6], [8]]
    assert Turn.objects.count() == 5


class Stream:
    """Server-sent events, read in a thread."""

    def __init__(self, site: Site, path: str, **headers: str) -> None:
        link = site.connect()
        link.connect()
        self.socket: socket.socket = link.sock
        link.request("GET", path, headers={"Authorization": f"Bearer {site.token}", **headers})
        self.response = link.getresponse()
        self.events: list[dict[str, str]] = []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        event: dict[str, str] = {}
        try:
            for raw in self.response:
                line = raw.decode().rstrip("\n")
                if line and not line.startswith(":"):
                    name, _, value = line.partition(": ")
                    event[name] = value
                elif event:
                    self.events.append(event)
                    event = {}
        except (OSError, ValueError, AttributeError):
            pass
        self.over.set()

    def heard(self, name: str) -> list[Any]:
        return [json.loads(event["data"]) for event in self.events if event["event"] == name]

    def close(self) -> None:
        """Hang up at once: closing the response would wait for the reader, which waits for the next heartbeat."""
        with suppress(OSError):  # the other side was first
            self.socket.shutdown(socket.SHUT_RDWR)
        self.thread.join(PATIENCE)
        self.response.close()
        self.socket.close()


@pytest.mark.django_db(transaction=True)
def test_a_session_can_be_followed_and_taken_up_again_until_the_key_is_revoked() -> None:
    caller = Caller(user_id=1)
    session = caller.session(user_id=1)
    with serving(raw.url(), caller.token) as site:
        _follow(caller, session, site)


@pytest.mark.django_db(transaction=True)
def test_a_stream_of_the_api_names_no_member_of_staff() -> None:
    caller = Caller()
    session = caller.session()
    takeover.reply(Conversation.objects.get().pk, "from a person", by="anna")
    with serving(raw.url(), caller.token) as site:
        stream = Stream(site, f"/api/sessions/{session}/events?after_index=-1")
        eventually(lambda: stream.heard("message"), "the message comes")
        (said,) = stream.heard("message")
        assert (said["content"], said["role"]) == ("from a person", "assistant")
        assert "author" not in said
        assert "anna" not in str(stream.events)
        stream.close()


@pytest.mark.django_db(transaction=True)
def test_a_key_has_so_many_streams_open_and_no_more() -> None:
    caller, other = Caller(), Caller()
    path = f"/api/sessions/{caller.session()}/events"
    with serving(raw.url(), caller.token, API_STREAMS_PER_KEY="2") as site:
        first, second = Stream(site, path), Stream(site, path)
        third = Stream(site, path)
        assert (first.response.status, second.response.status, third.response.status) == (200, 200, 429)
        status, refusal = site.ask("GET", path.removeprefix("/api"))
        assert (status, refusal["error"]) == (429, "too_many_streams")
        another = Stream(replace(site, token=other.token), path)
        assert another.response.status == 200, "each key has streams of its own"
        first.close()
        eventually(lambda: _taken(site, path), "the place of a closed stream is free again")
        for stream in (second, third, another):
            stream.close()


def test_a_stream_makes_room_when_it_is_closed() -> None:
    async def events() -> AsyncIterator[bytes]:
        yield b""

    first = limits.stream("one key", events(), limit=1)
    with pytest.raises(ApiError, match="This key has 1 streams open"):
        limits.stream("one key", events(), limit=1)
    limits.stream("another key", events(), limit=1).close()
    first.close()
    limits.stream("one key", events(), limit=1).close()
    assert limits._streams.keys() & {"one key", "another key"} == set()
    for _ in range(3):
        limits.stream("no limit", events(), limit=0)


def _taken(site: Site, path: str) -> bool:
    stream = Stream(site, path)
    taken = stream.response.status == 200
    stream.close()
    return taken


def _follow(caller: Caller, session: str, site: Site) -> None:
    path = f"/api/sessions/{session}/events"
    stream = Stream(site, path)
    eventually(lambda: stream.heard("burst"), "the state comes first")
    say(caller, session, "Hello")
    eventually(lambda: stream.heard("message"), "the message comes")
    with agent():
        quiet()
    eventually(lambda: len(stream.heard("message")) == 2, "the answer comes")
    eventually(lambda: stream.heard("turn"), "the turn comes")
    stream.close()
    again = Stream(site, path, **{"Last-Event-ID": "0"})
    eventually(lambda: again.heard("message"), "what was missed comes")
    assert [said["message_index"] for said in again.heard("message")] == [1]
    keys.revoke(caller.key.prefix, by="test")

    def shut_out() -> bool:
        takeover.reply(Conversation.objects.get().pk, "psst", by="anna")
        return again.over.is_set()

    eventually(shut_out, "a revoked key hears no more")
    again.close()
