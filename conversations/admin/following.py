"""A transcript that is open follows its conversation: the events of `conversations.live`, for staff."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING
from uuid import UUID

from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.core.handlers.asgi import ASGIRequest
from django.db import connection
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_safe

from conversations import live
from conversations.models import Conversation

if TYPE_CHECKING:
    from config.admin import ModelAdmin

    Base = ModelAdmin
else:
    Base = object

ONCE_AT_MOST = 600.0  # seconds; the browser comes back, and the session is looked at again
CHECK_PERSON_EVERY = 5.0  # seconds


class Following(Base):
    """The stream behind an open transcript."""

    @method_decorator(require_safe)
    def events(self, request: HttpRequest, conversation_id: UUID) -> HttpResponseBase:
        """What happens after the message the page ends with, or after the last one the browser saw."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        found = Conversation.objects.filter(pk=conversation_id).values_list("message_count", flat=True).first()
        if found is None:
            raise Http404
        if not isinstance(request, ASGIRequest):
            return HttpResponse(status=204)  # a server without streams: the browser asks no more, the page stands still
        after = live.parsed_event_id(request.headers.get("Last-Event-ID") or request.GET.get("after"))
        person = int(request.user.pk or 0)
        if not connection.in_atomic_block:
            connection.close()  # a stream may last for minutes: give the connection back before it begins
        return StreamingHttpResponse(
            _stream(conversation_id, after if after is not None else int(found) - 1, person),
            content_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )


async def _stream(conversation_id: UUID, after_index: int, person: int) -> AsyncIterator[bytes]:
    begun = checked = time.monotonic()
    yield live.KEEP_ALIVE
    async for happened in live.follow(conversation_id, after_index=after_index):
        now = time.monotonic()
        if now - begun > ONCE_AT_MOST:
            return
        if now - checked > CHECK_PERSON_EVERY:
            if not await sync_to_async(_still_staff, thread_sensitive=False)(person):
                return
            checked = now
        yield happened.encode() if happened else live.KEEP_ALIVE


def _still_staff(person: int) -> bool:
    try:
        return get_user_model().objects.filter(pk=person, is_active=True, is_staff=True).exists()
    finally:
        connection.close()
