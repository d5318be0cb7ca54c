"""What an agent gets to know of a turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID


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
    message_ids: Sequence[UUID] = ()  # of the burst, one for each
    first_run: bool = False  # nobody ran this turn before: there is nothing to go on from
    spent_tokens: int = 0  # by the attempts before this one: the budgets are the turn's
    spent_seconds: float = 0.0
    last_run: bool = False  # the last attempt: if it fails, no later run counts what is checkpointed
    draft: Callable[[str], None] | None = None  # told the answer so far, as often as it likes to hear
