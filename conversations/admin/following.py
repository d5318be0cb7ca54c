"""The stream behind the open transcripts of a browser: the events of `conversations.live`, for staff (ADR 0168)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from importlib import import_module
from typing import TYPE_CHECKING
from uuid import UUID

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.core.handlers.asgi import ASGIRequest
from django.db import connection
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_safe

from config.second_factor import gate
from conversations import live
from conversations.models import Conversation

if TYPE_CHECKING:
    from config.admin import ModelAdmin

    Base = ModelAdmin
else:
    Base = object

ONCE_AT_MOST = 600.0  # seconds; the browser comes back, and the session is looked at again
CHECK_SESSION_EVERY = 2.0  # seconds
MOST_AT_ONCE = 50  # conversations of one stream; the browser's script names no more


Arrival = tuple[UUID | None, live.Happened | None]  # without a conversation: time to look at the session


class Following(Base):
    """One stream for all transcripts that a browser has open: it allows six connections to a server over HTTP/1.1."""

    @method_decorator(require_safe)
    def events(self, request: HttpRequest) -> HttpResponseBase:
        """What happens in each named conversation after the message that its page ends with."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        wanted = _cursors(request.GET.getlist("conversation"))
        known = set(Conversation.objects.filter(pk__in=wanted).values_list("pk", flat=True))
        if not known or len(wanted) > MOST_AT_ONCE:
            raise Http404
        if not isinstance(request, ASGIRequest):
            return HttpResponse(status=204)  # a server without streams: the page stands still
        session_key = request.session.session_key or ""
        if not connection.in_atomic_block:
            connection.close()  # a stream may last for minutes: give the connection back before it begins
        return StreamingHttpResponse(
            _stream({id_: after for id_, after in wanted.items() if id_ in known}, session_key),
            content_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )


def _cursors(given: list[str]) -> dict[UUID, int]:
    """`<conversation>:<index of its last message on the page>`; what cannot be read is left out."""
    cursors = {}
    for text in given:
        name, _colon, index = text.partition(":")
        after = live.parsed_event_id(index)
        try:
            cursors[UUID(name)] = -1 if after is None else after
        except ValueError:
            continue
    return cursors


async def _stream(cursors: Mapping[UUID, int], session_key: str) -> AsyncIterator[bytes]:
    begun = checked = time.monotonic()
    yield live.KEEP_ALIVE
    async with aclosing(_merged(cursors)) as events:
        async for conversation_id, event in events:
            now = time.monotonic()
            if now - begun > ONCE_AT_MOST:
                return
            if now - checked >= CHECK_SESSION_EVERY:
                if not await sync_to_async(may_still_follow, thread_sensitive=False)(session_key):
                    return
                checked = now
            if conversation_id is not None:
                yield _encoded(conversation_id, event) if event else live.KEEP_ALIVE


def _encoded(conversation_id: UUID, event: live.Happened) -> bytes:
    """With its conversation, and with the time, since a countdown must not trust the clock of the browser."""
    data = {"conversation": conversation_id, "now": time.time(), **event.data}
    return live.Happened(event.name, data, event.id).encode()


async def _merged(cursors: Mapping[UUID, int]) -> AsyncGenerator[Arrival, None]:
    """Events of all conversations in the order of their arrival, and ticks; a slow reader holds each of them back."""
    queue: asyncio.Queue[Arrival | Exception] = asyncio.Queue(maxsize=1)

    async def pump(conversation_id: UUID, after: int) -> None:
        try:
            async with aclosing(live.follow(conversation_id, after_index=after)) as events:
                async for event in events:
                    await queue.put((conversation_id, event))
        except Exception as error:
            await queue.put(error)

    async def tick() -> None:
        while True:
            await asyncio.sleep(CHECK_SESSION_EVERY)
            await queue.put((None, None))

    tasks = [asyncio.create_task(pump(*cursor)) for cursor in cursors.items()] + [asyncio.create_task(tick())]
    try:
        while True:
            arrival = await queue.get()
            if isinstance(arrival, Exception):
                raise arrival  # the stream ends, and the browser comes back with the cursors it has
            yield arrival
    finally:
        await _end(tasks)


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    """Until they have ended: Python 3.11's wait_for may swallow one cancellation."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _done, pending = await asyncio.wait(pending, timeout=1.0)


def may_still_follow(session_key: str) -> bool:
    """Session, password, second factor and permission as of now: whoever lost one of them hears no more."""
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    try:
        user = get_user(request)
        return (
            user.is_active
            and isinstance(user, User)
            and user.is_staff
            and user.has_perm("conversations.view_conversation")
            and gate.standing_of(user, request.session) is gate.Standing.THROUGH
        )
    finally:
        connection.close()
