"""The wake-ups of this room, and the finders of what nobody was woken for."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from agents import approvals
from agents.models import CallStatus, ToolCall
from config.columns import clock
from config.queue import before_work, defer, every, finder, task

LATE = timedelta(seconds=30)  # after which an approved call counts as forgotten


@before_work
def load_runtime() -> None:
    """The graph takes seconds to import: the worker pays once, before it forks, and no turn waits for it."""
    from agents import graph  # noqa: F401


@task(approvals.CARRY_OUT, timeout=120)
def carry_out(call_id: str) -> None:
    """Staff approved a call."""
    approvals.carry_out(UUID(call_id))


@finder("tool_calls.approved")
def wake_approved_calls() -> int:
    """Approved calls whose wake-up is gone."""
    late = ToolCall.objects.filter(status=CallStatus.APPROVED, decided_at__lt=clock() - LATE)
    ids = list(late.values_list("pk", flat=True)[:1000])
    for id_ in ids:
        defer(approvals.CARRY_OUT, str(id_), key=["carry_out", str(id_)])
    return len(ids)


@finder("tool_calls.lost")
def give_up_lost_calls() -> int:
    """Calls to other servers whose worker died before it recorded the end."""
    return approvals.give_up_lost_calls()


@every(86_400, offset=3 * 3600)
@task("checkpoints.prune", timeout=3600, attempts=2)
def prune_checkpoints() -> None:
    """Once a day, at night."""
    from agents import checkpoints  # LangGraph is loaded where it is needed

    checkpoints.prune(older_than_days=checkpoints.kept_days())
