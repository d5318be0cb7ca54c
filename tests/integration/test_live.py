"""Listeners hear everything once, in order, however they come and go."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async
from django.db import connection

from agents.outcomes import Replied
from agents.request import Request
from conversations import live, log, takeover
from conversations.api import urls
from conversations.buffering import receive, typing
from conversations.live import Happened, follow
from tests.api import Caller
from tests.conversing import agent, conversation, quiet
from tests.patience import PATIENCE

pytestmark = pytest.mark.django_db(transaction=True)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(PATIENCE):
            await scenario()

    asyncio.run(limited())


def elsewhere(action: Callable[..., Any], *args: Any, **kwargs: Any) -> Awaitable[Any]:
    """In another thread with a connection of its own, as another process would."""

    def act() -> Any:
        try:
            return action(*args, **kwargs)
        finally:
            connection.close()

    return sync_to_async(act, thread_sensitive=False)()


async def until(stream: Any, name: str) -> tuple[Happened, list[Happened]]:
    """The next event of that name, and what came before it."""
    before: list[Happened] = []
    async for happened in stream:
        if happened is not None and happened.name == name:
            return happened, before
        if happened is not None:
            before.append(happened)
    raise AssertionError("the stream ended")


TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00")


@pytest.mark.parametrize("moment", ["2026-12-01 10:00:00+00", "2026-12-01 10:00:00.5+00"])
def test_a_time_is_written_as_the_api_writes_it(moment: str) -> None:
    """Also where it ends with zeros, which PostgreSQL and Python leave out, each in its own way."""
    caller = Caller()
    session = caller.session()
    received = caller.call("POST", f"/sessions/{session}/inbound", {"content": "hi"}).json()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE message_buffers SET flush_at = %s", [moment])
    (burst,) = live.look([UUID(session)])[UUID(session)].bursts
    expected = datetime.fromisoformat(moment).isoformat(timespec="microseconds")
    assert burst["flush_at"] == expected
    assert TIME.fullmatch(burst["opened_at"])
    (entry,) = log.history(UUID(session))
    event = Happened("message", live.message(entry), 0).encode().decode()
    assert TIME.fullmatch(received["message"]["created_at"])
    assert f'"created_at": "{received["message"]["created_at"]}"' in event
    assert urls.Encoder().default(datetime.fromisoformat(moment)) == expected


def test_a_listener_hears_messages_typing_the_burst_and_the_turn() -> None:
    chat = conversation()

    async def scenario() -> None:
        async with aclosing(follow(chat, after_index=-1)) as stream:
            await until(stream, "burst")
            await elsewhere(receive, chat, "hello")
            said, _ = await until(stream, "message")
            assert (said.id, said.data["content"], said.data["role"]) == (0, "hello", "user")
            burst, _ = await until(stream, "burst")
            assert burst.data["bursts"][0]["messages"] == 1
            await elsewhere(typing, chat, "typing")
            await until(stream, "typing")
            with agent():
                await elsewhere(quiet)
            reply, _ = await until(stream, "message")
            assert (reply.id, reply.data["role"]) == (1, "assistant")
            turn, _ = await until(stream, "turn")
            assert turn.data["status"] == "done"
            await elsewhere(takeover.take_over, chat, by="anna")
            session, _ = await until(stream, "session")
            assert session.data["mode"] == "manual"
            await elsewhere(log.clear, chat, by="anna")
            deleted, _ = await until(stream, "deleted")
            assert deleted.data["count"] == 2

    run(scenario)


def test_a_listener_that_comes_back_misses_nothing_and_hears_nothing_twice() -> None:
    chat = conversation()
    for number in range(500):
        log.append(chat, "user", str(number))

    async def scenario() -> None:
        heard: list[int] = []
        while len(heard) < 500:
            async with aclosing(follow(chat, after_index=heard[-1] if heard else -1)) as stream:
                for _ in range(170):
                    said, _ = await until(stream, "message")
                    heard.append(said.data["message_index"])
                    if len(heard) == 500:
                        break
        assert heard == list(range(500))

    run(scenario)


def test_an_answer_can_be_watched_as_it_grows() -> None:
    chat = conversation()
    grown = threading.Event()

    def slowly(request: Request) -> Replied:
        assert request.draft
        for text in ("I", "I see", "I see that"):
            request.draft(text)
        assert grown.wait(PATIENCE), "somebody watches"
        return Replied("I see that you moved.")

    async def scenario() -> None:
        async with aclosing(follow(chat, after_index=-1)) as stream:
            await until(stream, "burst")
            await elsewhere(receive, chat, "I moved")
            with agent(answers=slowly):
                answering = asyncio.ensure_future(elsewhere(quiet))
                draft, _ = await until(stream, "draft")
                assert draft.data["text"] == "I see that"
                grown.set()
                await answering
            reply, _ = await until(stream, "message")
            assert reply.data["content"] == "I see that you moved."

    run(scenario)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM turn_drafts")
        assert cursor.fetchone() == (0,)


def test_many_listeners_need_no_thread_each_and_one_look_serves_them() -> None:
    chat = conversation()

    async def scenario() -> None:
        streams = [follow(chat, after_index=-1) for _ in range(100)]
        for stream in streams:
            await until(stream, "burst")
        threads = threading.active_count()
        await elsewhere(log.append, chat, "user", "hello all")
        heard = await asyncio.gather(*(until(stream, "message") for stream in streams))
        assert {said.data["content"] for said, _ in heard} == {"hello all"}
        assert threads < 50
        for stream in streams:
            await stream.aclose()
        assert live.hub().listeners == {}

    run(scenario)


def test_silence_is_filled_with_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "HEARTBEAT", 0.05)
    chat = conversation()

    async def scenario() -> None:
        async with aclosing(follow(chat, after_index=-1)) as stream:
            async for happened in stream:
                if happened is None:
                    return

    run(scenario)


def test_an_event_cannot_be_forged_by_what_a_person_writes() -> None:
    evil = "hi\n\nevent: turn\ndata: {}\n\u2028\r\rid: 999"
    lines = Happened("message", {"content": evil}, 7).encode().decode()
    assert lines.count("\n") == 4
    assert lines.startswith("id: 7\nevent: message\ndata: ")
    assert json.loads(lines.split("data: ", 1)[1])["content"] == evil


@pytest.mark.parametrize(
    ("text", "index"), [("41", 41), ("-1", -1), (None, None), ("", None), ("4_1", None), ("١", None), ("9" * 30, None)]
)
def test_only_a_plain_number_names_the_last_event(text: str | None, index: int | None) -> None:
    assert live.parsed_event_id(text) == index
