"""Stands before Django and bounds what a request may cost before anybody has read it (ADR 0041).

Django takes a body in full, to memory and then to disk, before it asks who is calling. Here the length that is
announced is believed when it is too large, counted when it is not, and the whole body has a deadline.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from django.conf import settings

log = structlog.get_logger(__name__)

Scope = dict[str, Any]
Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MOST_HEADERS = 100
GONE: Message = {"type": "http.disconnect"}  # what Django is told of a request we answer ourselves


@dataclass(frozen=True)
class Refused:
    status: int
    error: str
    detail: str


TOO_LARGE = Refused(413, "body_too_large", "The body is larger than this site takes.")
TOO_SLOW = Refused(408, "body_too_slow", "The body took too long to arrive.")
TWO_LENGTHS = Refused(400, "ambiguous_length", "The request gives two lengths of its body.")
TOO_MANY_HEADERS = Refused(431, "too_many_headers", "The request has too many headers.")


class BodyLimits:
    """An ASGI application around another."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        if refused := _at_first_sight(scope["headers"]):
            return await _answer(refused, scope, send)
        body = Body(receive)
        await self.app(scope, body.receive, send)
        if body.refused:
            await _answer(body.refused, scope, send)
        return None


class Body:
    """Hands a body on in the pieces it comes in, until it is too much or too late."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._arrived = 0
        self._complete = False
        self._deadline = asyncio.get_running_loop().time() + settings.HTTP_BODY_SECONDS
        self.refused: Refused | None = None

    async def receive(self) -> Message:
        if self._complete:
            return await self._receive()  # waits for the client to go away
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            return self._refuse(TOO_SLOW)
        self._arrived += len(message.get("body", b""))
        self._complete = not message.get("more_body", False)
        return self._refuse(TOO_LARGE) if self._arrived > settings.HTTP_BODY_LIMIT else message

    def _refuse(self, reason: Refused) -> Message:
        self.refused = reason
        return GONE


def _at_first_sight(headers: list[tuple[bytes, bytes]]) -> Refused | None:
    if len(headers) > MOST_HEADERS:
        return TOO_MANY_HEADERS
    announced = next((value for name, value in headers if name == b"content-length"), b"0")
    if announced != b"0" and any(name == b"transfer-encoding" for name, _ in headers):
        return TWO_LENGTHS  # a proxy may believe the other one and see two requests where we see one
    return TOO_LARGE if announced.isdigit() and int(announced[:20]) > settings.HTTP_BODY_LIMIT else None


async def _answer(refused: Refused, scope: Scope, send: Send) -> None:
    """Answer and hang up: what is still on its way is never read."""
    log.warning("request refused", path=scope["path"], reason=refused.error)
    body = json.dumps({"error": refused.error, "detail": refused.detail}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
