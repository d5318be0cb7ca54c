"""Sessions, as the API calls conversations."""

from http import HTTPMethod
from uuid import UUID

from django.http import HttpRequest
from ninja.responses import Status

from conversations import sessions
from conversations.api.calls import Calls
from conversations.api.errors import ApiError
from conversations.api.schemas import Id, NewSession, Session
from conversations.keys import Caller
from conversations.models import Conversation, Scope

calls = Calls(tags=["sessions"])


@calls.call(
    HTTPMethod.POST,
    "/sessions",
    scope=Scope.SESSIONS,
    answers={201: Session, 200: Session},
    summary="Open a session, or get the live one of a chat",
)
def open_session(request: HttpRequest, body: NewSession) -> Status[Session]:
    """201 with a new session; 200 with the live one when that `chat_id` of that user already has it.

    What the repeated call says beside `user_id` and `chat_id` does not change the session.
    """
    refuse_other_user(request.auth, body.user_id)  # type: ignore[attr-defined]
    conversation, created = sessions.open(
        body.user_id,
        chat_id=body.chat_id,
        agent_id=agent_named(body.agent),
        title=body.title or "",
        metadata=body.metadata,
    )
    return Status(201 if created else 200, shown(conversation))


@calls.call(
    HTTPMethod.GET,
    "/sessions/{session_id}",
    scope=Scope.READ,
    answers={200: Session},
    refusals=(404,),
    summary="A session and how far it is",
)
def get_session(request: HttpRequest, session_id: Id) -> Session:
    return shown(sessions.get(session_id))


def shown(conversation: Conversation) -> Session:
    return Session.of(conversation, agent=None)


def agent_named(name: str | None) -> UUID | None:
    """No agents are registered yet, so no name can be right."""
    if name is not None:
        raise ApiError(400, "unknown_agent", "There is no agent of that name.", field="agent")
    return None


def refuse_other_user(caller: Caller, user_id: int) -> None:
    """PostgreSQL would refuse the row; this says it in words."""
    if caller.user_id not in {None, user_id}:
        raise ApiError(403, "wrong_user", "This key is bound to another user.", field="user_id")
