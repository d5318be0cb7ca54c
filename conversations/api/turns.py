"""Turns, and everything as it happens."""

import time
from collections.abc import AsyncIterator
from http import HTTPMethod
from uuid import UUID

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connection
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from ninja import Query

from conversations import live, sessions
from conversations.api import limits
from conversations.api.calls import Calls, own_session
from conversations.api.schemas import Id, Latest, Since, Turns, TurnShape
from conversations.keys import Caller
from conversations.models import ApiKey, Message, Scope, Turn

calls = Calls(tags=["turns"])

LAST_EVENT_ID = {
    "name": "Last-Event-ID",
    "in": "header",
    "required": False,
    "description": "The id of the last event seen, as browsers send it by themselves; it goes before `after_index`.",
    "schema": {"type": "string"},
}
CHECK_KEY_EVERY = 1.0  # seconds a revoked key may go on listening


@calls.call(
    HTTPMethod.GET,
    "/sessions/{session_id}/turns",
    scope=Scope.READ,
    answers={200: Turns},
    refusals=(404,),
    summary="The latest turns",
)
def list_turns(request: HttpRequest, session_id: Id, latest: Query[Latest]) -> Turns:
    """In order, the latest last: which messages each one joined, why and how long it waited, and what came of it."""
    sessions.get(session_id)
    turns = list(Turn.objects.filter(conversation_id=session_id).order_by("-id")[: latest.limit])[::-1]
    said = [turn.reply_id for turn in turns if turn.reply_id]
    replies = Message.objects.filter(conversation_id=session_id, pk__in=said)
    indexes: dict[UUID | None, int] = dict(replies.values_list("pk", "message_index"))
    return Turns(turns=[TurnShape.of(turn, reply_index=indexes.get(turn.reply_id)) for turn in turns])


@calls.call(
    HTTPMethod.GET,
    "/sessions/{session_id}/events",
    scope=Scope.READ,
    answers={200: None},
    refusals=(404,),
    as_service=True,
    summary="Follow a session (server-sent events)",
    openapi_extra={
        "parameters": [LAST_EVENT_ID],
        "responses": {200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}, "description": "Events"}},
    },
)
def follow_session(request: HttpRequest, session_id: Id, since: Query[Since]) -> HttpResponseBase:
    """`message`, `deleted`, `session`, `burst`, `typing`, `turn` and `draft` events, as they happen.

    Each carries the index of the last message as its id: a client that comes back with `Last-Event-ID` gets every
    message it missed. State (mode, open burst, latest turns) is sent whole at the start. A comment fills silences.
    """
    count = own_session(request, session_id).message_count
    after = live.parsed_event_id(request.headers.get("Last-Event-ID"))
    if after is None:
        after = since.after_index if since.after_index is not None else count - 1
    if not connection.in_atomic_block:
        connection.close()  # a stream may last for hours: give the connection back before it begins
    caller: Caller = request.auth  # type: ignore[attr-defined]
    return limits.stream(str(caller.key_id), _stream(session_id, after, caller), limit=settings.API_STREAMS_PER_KEY)


async def _stream(session_id: UUID, after_index: int, caller: Caller) -> AsyncIterator[bytes]:
    checked = time.monotonic()
    yield live.KEEP_ALIVE
    async for happened in live.follow(session_id, after_index=after_index):
        if time.monotonic() - checked > CHECK_KEY_EVERY:
            if not await sync_to_async(_still_good, thread_sensitive=False)(caller.key_id):
                return
            checked = time.monotonic()
        yield happened.for_clients().encode() if happened else live.KEEP_ALIVE


def _still_good(key_id: UUID) -> bool:
    try:
        return ApiKey.objects.usable().filter(pk=key_id).exists()
    finally:
        connection.close()
