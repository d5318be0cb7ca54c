"""What the person says and does: it is stored, waits for the rest of its burst, and is answered as a whole."""

from http import HTTPMethod

from django.http import HttpRequest
from ninja.responses import Status

from conversations import buffering
from conversations.api.calls import Calls, own_session
from conversations.api.schemas import Activity, Id, Inbound, Message, Received, Typing
from conversations.models import Scope

calls = Calls(tags=["inbound"])


@calls.call(
    HTTPMethod.POST,
    "/sessions/{session_id}/inbound",
    scope=Scope.INBOUND,
    answers={202: Received},
    refusals=(404, 409),
    as_service=True,
    summary="Say something as the person",
)
def receive_message(request: HttpRequest, session_id: Id, body: Inbound) -> Status[Received]:
    """202: stored for ever, and answered at `flush_at` if nothing more comes by then.

    The same `external_id` again changes nothing. Commands such as `/start` are stored and answered by nobody; while
    staff have taken over, messages are left to them: then `fate` says so and `flush_at` is null.
    """
    own_session(request, session_id)
    received = buffering.receive(session_id, body.content, external_id=body.external_id, metadata=body.metadata)
    answer = Received(
        message=Message.of(received.entry),
        flush_at=received.flush_at,
        flush_id=received.flush_id or None,
        fate=received.fate.value if received.fate else None,  # type: ignore[arg-type]  # receive decides no other
        command=received.command,
    )
    return Status(202, answer)


@calls.call(
    HTTPMethod.POST,
    "/sessions/{session_id}/typing",
    scope=Scope.INBOUND,
    answers={202: Typing},
    refusals=(404,),
    as_service=True,
    summary="Say that the person is typing",
)
def report_typing(request: HttpRequest, session_id: Id, body: Activity) -> Status[Typing]:
    """202: an open burst waits a little longer, never past its deadline. `cancel` changes nothing."""
    own_session(request, session_id)
    return Status(202, Typing(flush_at=buffering.typing(session_id, body.activity)))
