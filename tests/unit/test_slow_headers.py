"""Whoever never finishes the headers of a request keeps no connection; whoever is in the middle of one does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from config import serving
from tests.patience import PATIENCE

Link = tuple[asyncio.StreamReader, asyncio.StreamWriter]
SECONDS = 0.2
WHOLE = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"


async def hello(scope: Any, receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
    """Slower than headers may be: that is the application's own affair."""
    if scope["path"] == "/slow":
        await asyncio.sleep(2 * SECONDS)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"hi"})


@asynccontextmanager
async def connected() -> AsyncIterator[Callable[[], Awaitable[Link]]]:
    """The server as `manage.py web` runs it, in front of an application of two words."""
    config = serving.settled(hello)
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    begun = await asyncio.get_running_loop().create_server(
        lambda: config.http_protocol_class(config=config, server_state=server.server_state, app_state={}),  # type: ignore[call-arg, operator]
        "127.0.0.1",
        0,
    )
    port = begun.sockets[0].getsockname()[1]
    links: list[Link] = []

    async def connect() -> Link:
        links.append(await asyncio.open_connection("127.0.0.1", port))
        return links[-1]

    async with begun:
        try:
            yield connect
        finally:
            for _reader, writer in links:
                writer.transport.abort()
            await asyncio.sleep(0)


async def drip(link: Link, *, first: bytes = b"GET / HTTP/1.1\r\nHost: here\r\n") -> bytes:
    """One more byte every moment, never the last; what came until the other side hung up."""
    reader, writer = link
    writer.write(first)
    answer = asyncio.ensure_future(reader.read())
    while not answer.done():
        writer.write(b"a")
        await asyncio.wait([answer], timeout=0.05)
    return b"" if isinstance(answer.exception(), ConnectionResetError) else answer.result()


def in_time(work: Awaitable[None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(PATIENCE):
            await work

    asyncio.run(bounded())


@pytest.fixture(autouse=True)
def little_time(settings: Any) -> None:
    settings.HTTP_HEADER_SECONDS = SECONDS


def test_dripping_headers_and_silence_are_hung_up_on() -> None:
    async def work() -> None:
        async with connected() as connect:
            silent, _writer = await connect()
            answers = await asyncio.gather(drip(await connect()), silent.read())
            assert answers == [b"", b""]

    in_time(work())


def test_the_next_request_of_a_connection_has_the_same_deadline() -> None:
    async def work() -> None:
        async with connected() as connect:
            link = await connect()
            link[1].write(WHOLE)
            assert (await link[0].readuntil(b"hi")).startswith(b"HTTP/1.1 200")
            assert await drip(link) == b""

    in_time(work())


def test_an_answer_may_take_longer_and_the_connection_goes_on() -> None:
    async def work() -> None:
        async with connected() as connect:
            reader, writer = await connect()
            for _ in range(2):
                writer.write(WHOLE.replace(b"/ ", b"/slow ", 1))
                assert (await reader.readuntil(b"hi")).startswith(b"HTTP/1.1 200")

    in_time(work())
