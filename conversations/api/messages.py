"""Messages: appended once, read by index, cleared without being lost."""

from http import HTTPMethod

from django.http import HttpRequest
from ninja import Query
from ninja.responses import Status

from conversations import log, sessions
from conversations.api.calls import Calls, own_session
from conversations.api.schemas import Cleared, Id, Message, Messages, NewMessage, Page
from conversations.models import Scope

calls = Calls(tags=["messages"])


@calls.call(
    HTTPMethod.POST,
    "/messages/append",
    scope=Scope.APPEND,
    answers={201: Message, 200: Message},
    refusals=(404, 409),
    summary="Append one message",
)
def append_message(request: HttpRequest, body: NewMessage) -> Status[Message]:
    """201 with the message and its index; 200 with the first one when `external_id` repeats.

    An answer that never arrived, or a 503, leaves open whether the message was stored: repeat the call with the same
    `external_id`. 409 when that `external_id` names a message with another role or content.
    """
    entry = log.append(body.session_id, body.role, body.content, metadata=body.metadata, external_id=body.external_id)
    return Status(200 if entry.repeated else 201, Message.of(entry))


@calls.call(
    HTTPMethod.GET,
    "/sessions/{session_id}/messages",
    scope=Scope.READ,
    answers={200: Messages},
    refusals=(404,),
    summary="Read messages",
)
def list_messages(request: HttpRequest, session_id: Id, page: Query[Page]) -> Messages:
    """Without an index: the newest messages. Always in order of `message_index`; cleared ones are left out."""
    entries = log.history(session_id, limit=page.limit, after_index=page.after_index, before_index=page.before_index)
    # Counted after the page was read: what is appended in between is behind it, and `next_after_index` leads there.
    conversation = sessions.get(session_id)
    more = bool(entries) and entries[-1].message_index + 1 < conversation.message_count
    return Messages(
        messages=[Message.of(entry) for entry in entries],
        count=conversation.visible_count,
        next_after_index=entries[-1].message_index if more else None,
    )


@calls.call(
    HTTPMethod.DELETE,
    "/sessions/{session_id}/messages",
    scope=Scope.CLEAR,
    answers={200: Cleared},
    refusals=(404,),
    as_service=True,
    summary="Clear a session",
)
def clear_messages(request: HttpRequest, session_id: Id) -> Cleared:
    """Mark every message deleted. They stay stored, keep their indexes, and can no longer be read here.

    What still waits for an answer gets none.
    """
    own_session(request, session_id)
    return Cleared(cleared=log.clear(session_id, by=f"key:{request.auth.prefix}"))  # type: ignore[attr-defined]
