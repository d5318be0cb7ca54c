"""Sessions, as the API calls conversations."""

from http import HTTPMethod

import structlog
from django.http import HttpRequest
from ninja.responses import Status

from agents import registry
from agents.models import Agent
from agents.registry import AgentNotFoundError
from conversations import sessions
from conversations.api.calls import Calls, own_session, run_as
from conversations.api.errors import ApiError
from conversations.api.schemas import Id, NewSession, Session
from conversations.keys import Caller
from conversations.models import Conversation, Scope

logger = structlog.get_logger(__name__)

calls = Calls(tags=["sessions"])


@calls.call(
    HTTPMethod.POST,
    "/sessions",
    scope=Scope.SESSIONS,
    answers={201: Session, 200: Session},
    as_service=True,
    summary="Open a session, or get the live one of a chat",
)
def open_session(request: HttpRequest, body: NewSession) -> Status[Session]:
    """201 with a new session; 200 with the live one when that `chat_id` of that user already has it.

    What the repeated call says beside `user_id` and `chat_id` does not change the session.
    """
    caller: Caller = request.auth  # type: ignore[attr-defined]
    refuse_other_user(caller, body.user_id)
    agent = agent_named(body.agent, caller=caller)
    conversation, created = run_as(
        caller,
        lambda: sessions.open(
            body.user_id,
            chat_id=body.chat_id,
            agent_id=agent.pk if agent else None,
            title=body.title or "",
            metadata=body.metadata,
        ),
    )
    return Status(201 if created else 200, shown(conversation))


@calls.call(
    HTTPMethod.GET,
    "/sessions/{session_id}",
    scope=Scope.READ,
    answers={200: Session},
    refusals=(404,),
    as_service=True,
    summary="A session and how far it is",
)
def get_session(request: HttpRequest, session_id: Id) -> Session:
    return shown(own_session(request, session_id))


def shown(conversation: Conversation) -> Session:
    named = Agent.objects.filter(pk=conversation.agent_id) if conversation.agent_id else Agent.objects.none()
    return Session.of(conversation, agent=named.values_list("name", flat=True).first())


def agent_named(name: str | None, *, caller: Caller) -> Agent | None:
    """The agent of that name, or the default one; none at all where the operator named one that is not there."""
    if name is None:
        try:
            return registry.default_agent()
        except AgentNotFoundError as error:
            logger.error("no default agent", reason=str(error))
            return None
    try:
        return registry.find(name)
    except AgentNotFoundError as error:
        told = str(error) if caller.user_id is None else "There is no such agent."  # a user's key lists none
        raise ApiError(400, "unknown_agent", told, field="agent") from error


def refuse_other_user(caller: Caller, user_id: int) -> None:
    """PostgreSQL would refuse the row; this says it in words."""
    if caller.user_id not in {None, user_id}:
        raise ApiError(403, "wrong_user", "This key is bound to another user.", field="user_id")
