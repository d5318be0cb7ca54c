"""High-impact calls wait for a member of staff: approved they are done, with the end user's rights and once."""

from __future__ import annotations

import time
from collections.abc import Callable
from uuid import UUID

import structlog
from django.db import OperationalError, transaction

from agents import audit, rights
from agents.models import CallStatus, ToolCall
from agents.models import Tool as Row
from agents.tools import Call, Tool
from config.columns import clock
from config.crash import crash_point
from config.queue import defer
from config.queue.running import patiently

logger = structlog.get_logger(__name__)

CARRY_OUT = "agents.carry_out"
DEEDS = {CallStatus.APPROVED: "tool.approve", CallStatus.DENIED: "tool.deny"}
TOLD: list[Callable[[ToolCall], None]] = []  # who tells the person what became of a call; in its transaction


class NothingToDecideError(Exception):
    """This call does not wait for a decision, or somebody decided already."""

    permanent = True


def approve(call_id: UUID, *, by: str) -> None:
    """Let it happen; a worker carries it out."""
    with transaction.atomic():
        _decide(call_id, CallStatus.APPROVED, by=by)
        defer(CARRY_OUT, str(call_id), key=["carry_out", str(call_id)])


def deny(call_id: UUID, *, by: str) -> None:
    """It will not happen, and the person is told."""
    with transaction.atomic():
        call = _decide(call_id, CallStatus.DENIED, by=by)
        _tell(call)


def settle(call_id: UUID, *, happened: bool, by: str) -> None:
    """Staff found out what became of a call whose end was lost."""
    status = CallStatus.DONE if happened else CallStatus.FAILED
    with transaction.atomic():
        call = _locked(call_id, CallStatus.UNKNOWN)
        if call is None:
            raise NothingToDecideError("Only a call whose end is not known can be settled by hand.")
        call.status, call.result = status, call.result or ("It happened." if happened else "It did not happen.")
        call.updated_at = clock()
        call.save(update_fields=["status", "result", "updated_at"])
        detail = {"tool": call.tool, "happened": happened}
        audit.record("tool.settle", by, ("tool_call", call.pk), detail, on_behalf_of=f"user {call.user_id}")
        if call.decided_by:
            _tell(ToolCall.objects.get(pk=call_id))


def carry_out(call_id: UUID) -> None:
    """Run an approved call: in one transaction with its record, or, on another server, at most once."""
    try:
        call = ToolCall.objects.get(pk=call_id, status=CallStatus.APPROVED)
        tool = _tool_of(call)
    except ToolCall.DoesNotExist:
        return  # run, settled or erased by somebody else
    except LookupError as error:
        _finish(call_id, CallStatus.APPROVED, CallStatus.FAILED, f"It failed: {error}")
        return
    if tool.outside:
        _outside(call, tool)
    else:
        _inside(call_id, tool)


def _inside(call_id: UUID, tool: Tool) -> None:
    """Effect and record in one transaction."""
    try:
        with transaction.atomic():
            locked = _locked(call_id, CallStatus.APPROVED)
            if locked is not None:
                begun = time.monotonic()
                _end(locked, CallStatus.DONE, _run(locked, tool), begun)
    except OperationalError:
        raise  # the database is away, or it took too long: the queue tries again, nothing has happened
    except Exception as error:
        logger.warning("approved call failed", call=str(call_id), reason=type(error).__name__, exc_info=error)
        _finish(call_id, CallStatus.APPROVED, CallStatus.FAILED, f"It failed: {type(error).__name__}.")


def _outside(call: ToolCall, tool: Tool) -> None:
    """Start on record, then the call without any transaction, then its end. A lost end is never repeated."""
    from agents import calls

    try:
        rights.check()
    except rights.NoIsolationError as error:
        logger.error("approved call failed", call=str(call.pk), reason=type(error).__name__)
        _finish(call.pk, CallStatus.APPROVED, CallStatus.FAILED, f"It failed: {error}")
        return
    started = ToolCall.objects.filter(pk=call.pk, status=CallStatus.APPROVED).update(
        status=CallStatus.STARTED, updated_at=clock()
    )
    if not started:
        return  # by another worker
    crash_point("after_approved_start")
    begun = time.monotonic()
    ended = calls.bounded(lambda: calls.outside(_asker(call), call.arguments, tool), tool.timeout)
    crash_point("after_approved_effect")
    status, text = ended or (CallStatus.UNKNOWN, f"No answer within {tool.timeout:.0f} s.")
    patiently(lambda: _finish(call.pk, CallStatus.STARTED, status, text, begun))


def give_up_lost_calls() -> int:
    """Calls to other servers whose worker died before it recorded the end: staff find out what became of them."""
    lost = ToolCall.objects.overrun().values_list("pk", flat=True)[:1000]
    for id_ in list(lost):
        _finish(id_, CallStatus.STARTED, CallStatus.UNKNOWN, "Its worker died before the answer was recorded.")
    return len(lost)


def _finish(call_id: UUID, was: CallStatus, status: CallStatus, text: str, begun: float | None = None) -> None:
    with transaction.atomic():
        call = _locked(call_id, was)
        if call is not None:
            _end(call, status, text, begun)


def _tool_of(call: ToolCall) -> Tool:
    from agents import calls  # with jsonschema behind it: only where calls are run

    row = Row.objects.filter(name=call.tool, is_active=True).first()
    tool = calls.code_of(row) if row else None
    if tool is None:
        raise LookupError("The tool was switched off since.")
    return tool


def _run(call: ToolCall, tool: Tool) -> str:
    from agents import calls

    return calls.run(_asker(call), call.arguments, tool)


def _asker(call: ToolCall) -> Call:
    return Call(
        call.turn_id,
        call.number,
        call.conversation_id,
        call.user_id,
        call.agent,
        call.agent_version,
        call.message_id,
    )


def _decide(call_id: UUID, status: CallStatus, *, by: str) -> ToolCall:
    decided = ToolCall.objects.filter(pk=call_id, status=CallStatus.WAITING).update(
        status=status, decided_by=by, decided_at=clock(), updated_at=clock()
    )
    if not decided:
        raise NothingToDecideError(NothingToDecideError.__doc__)
    call = ToolCall.objects.get(pk=call_id)
    told = {"tool": call.tool, "turn": str(call.turn_id), "number": call.number}
    audit.record(DEEDS[status], by, ("tool_call", call_id), told, on_behalf_of=f"user {call.user_id}")
    return call


def _locked(call_id: UUID, status: CallStatus) -> ToolCall | None:
    return ToolCall.objects.select_for_update(no_key=True).filter(pk=call_id, status=status).first()


def _end(call: ToolCall, status: CallStatus, text: str, begun: float | None) -> None:
    call.status, call.result = status, text
    call.milliseconds = None if begun is None else round(1000 * (time.monotonic() - begun))
    call.save(update_fields=["status", "result", "milliseconds"])
    if not call.decided_by:
        return  # called within a turn: its agent was shown what is known
    audit.record(
        "tool.carry_out",
        f"agent {call.agent}",
        ("tool_call", call.pk),
        {"tool": call.tool},
        on_behalf_of=f"user {call.user_id}",
        status="success" if status == CallStatus.DONE else "failure",
    )
    _tell(call)


def _tell(call: ToolCall) -> None:
    for listener in TOLD:
        listener(call)
