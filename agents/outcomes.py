"""What a turn may come to. Expected results are values; an exception means a bug or an outage."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Usage:
    """What it cost."""

    input_tokens: int = 0
    output_tokens: int = 0


NOTHING = Usage()


@dataclass(frozen=True, slots=True)
class Replied:
    """The agent has something to say; `next_step` moves an interview on."""

    text: str
    next_step: int | None = None
    usage: Usage = Usage()
    trace: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Silent:
    """The agent chose to say nothing."""

    reason: str
    usage: Usage = Usage()
    trace: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refused:
    """The agent will not do this, and says so."""

    reason: str
    text: str
    usage: Usage = Usage()
    trace: dict[str, Any] = field(default_factory=dict)


Outcome = Replied | Silent | Refused
