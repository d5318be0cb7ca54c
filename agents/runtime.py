"""The one narrow way to an agent: a request of values in, an outcome of values out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from agents.llm import scripted
from agents.outcomes import Outcome


class AgentError(Exception):
    """The agent could not answer this time."""

    permanent = False


class AgentBrokenError(AgentError):
    """The agent cannot answer this, however often it is tried."""

    permanent = True


@dataclass(frozen=True, slots=True)
class Said:
    """A message of the conversation so far."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Request:
    """All an agent may know of a turn. `burst` is to be answered as a whole; `late` where the step has moved on."""

    turn_id: UUID
    conversation_id: UUID
    user_id: int
    agent_id: UUID | None
    interview_step: int
    late: bool
    history: Sequence[Said]
    burst: Sequence[str]
    still_ours: Callable[[], bool]  # False once somebody else may run the turn: stop, nothing will be kept
    pinned: int | None = None  # the agent's version this interview began with


def run(request: Request) -> Outcome:
    """Answer the burst. Raises AgentError where it could not; anything else raised is a bug or an outage."""
    return scripted.answer(request.burst, request.history, step=request.interview_step, late=request.late)


def on_failure(_agent_id: UUID | None, burst: Sequence[str]) -> str:
    """What the person is told when every attempt failed."""
    return scripted.apology(burst)
