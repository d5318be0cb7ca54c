"""High-impact calls wait for a member of staff: approved they are done, with the end user's rights and once."""

from __future__ import annotations

import time
from collections.abc import Callable
from uuid import UUID

import structlog
from django.db import OperationalError, transaction

from agents import audit
from agents.models import CallStatus, ToolCall
from agents.models import Tool as Row
from agents.tools import Call
from config.columns import clock
from config.queue import defer

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


def carry_out(call_id: UUID) -> None:
    """Do what was approved. Whoever comes second finds it done."""
    try:
        with transaction.atomic():
            call = _locked(call_id, CallStatus.APPROVED)
            if call is None:
                return
            begun = time.monotonic()
            text = _run(call)
            _end(call, CallStatus.DONE, text, begun)
    except OperationalError:
        raise  # the database is away, or it took too long: the queue tries again, nothing has happened
    except Exception as error:
        logger.warning("approved call failed", call=str(call_id), reason=type(error).__name__, exc_info=error)
        with transaction.atomic():
            call = _locked(call_id, CallStatus.APPROVED)
            if call is not None:
                _end(call, CallStatus.FAILED, f"It failed: {type(error).__name__}.", time.monotonic())


def _run(call: ToolCall) -> str:
    from agents import calls  # with jsonschema behind it: only where calls are run

    row = Row.objects.filter(name=call.tool, is_active=True).first()
    tool = calls.code_of(row) if row else None
    if tool is None:
        raise LookupError("The tool was switched off since.")
    asker = Call(
        call.turn_id,
        call.number,
        call.conversation_id,
        call.user_id,
        call.agent,
        call.agent_version,
        call.message_id,
    )
    return calls.run(asker, call.arguments, tool)


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


def _end(call: ToolCall, status: CallStatus, text: str, begun: float) -> None:
    call.status, call.result = status, text
    call.milliseconds = round(1000 * (time.monotonic() - begun))
    call.save(update_fields=["status", "result", "milliseconds"])
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
