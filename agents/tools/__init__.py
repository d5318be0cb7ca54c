"""What agents may do, in code: a tool exists because a file here declares it; rows only switch it on (docs/adr/0083).

    @tool("now", "Date and time.", schema={"type": "object", "properties": {}})
    def now(call: Call) -> str: ...

A tool runs inside one transaction with the rights of the end user, and its result is stored in the same transaction:
what it did in the database happened once or not at all. One that acts on another server says `outside=True`: its
start is recorded first, it runs without a transaction, and a call whose end was lost is never repeated
(`call.idempotency_key` names it to the other server). `async def` works, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID, uuid5

NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
LONGEST = 60.0  # seconds


class NotDone(Exception):  # noqa: N818  a result of a tool, not a mistake
    """Raised by a tool on another server that knows that nothing happened there; its text is shown to the model."""


@dataclass(frozen=True, slots=True)
class Call:
    """Who asks, and in which turn: all a tool may go by. The rights are those of `user_id`, whatever arguments say."""

    turn_id: UUID
    number: int
    conversation_id: UUID
    user_id: int
    agent: str = ""
    agent_version: int | None = None
    message_id: UUID | None = None  # what the person said that it goes back to

    @property
    def idempotency_key(self) -> str:
        """Name of this call for other servers: the same however often it is repeated, and no other call's."""
        return str(uuid5(self.turn_id, str(self.number)))


@dataclass(frozen=True, slots=True)
class Tool:
    """A function a model may ask for."""

    name: str
    description: str
    function: Callable[..., Any]
    schema: dict[str, Any]
    timeout: float
    outside: bool  # it acts where our transaction does not reach: a repeat is refused rather than risked
    high_impact: bool
    available: Callable[[], bool]

    @property
    def module_path(self) -> str:
        return self.function.__module__


Function = TypeVar("Function", bound=Callable[..., Any])
TOOLS: dict[str, Tool] = {}


def tool(  # noqa: PLR0913  keyword-only, one per property
    name: str,
    description: str,
    *,
    schema: dict[str, Any],
    timeout: float = 10,
    outside: bool = False,
    high_impact: bool = False,
    available: Callable[[], bool] = lambda: True,
) -> Callable[[Function], Function]:
    """Declare a tool under the name models and rows call it by."""
    if not NAME.fullmatch(name) or not 0 < timeout <= LONGEST:
        raise ValueError(f"{name!r}: a tool has a name of small letters and a timeout of at most {LONGEST:.0f} s.")

    def register(function: Function) -> Function:
        known = TOOLS.get(name)
        if known and known.module_path != function.__module__:
            raise ValueError(f"{name} is already a tool of {known.module_path}.")
        closed = {"type": "object", "properties": {}, "additionalProperties": False, **schema}
        TOOLS[name] = Tool(name, description, function, closed, timeout, outside, high_impact, available)
        return function

    return register
