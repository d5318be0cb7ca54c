"""What may go wrong while an agent answers."""

from __future__ import annotations

from agents.outcomes import NOTHING, Usage


class AgentError(Exception):
    """The agent could not answer this time."""

    permanent = False

    def __init__(self, *args: object, retry_after: float | None = None, usage: Usage = NOTHING) -> None:
        super().__init__(*args)
        self.retry_after = retry_after  # seconds the model's server asked us to stay away
        self.usage = usage  # cost of the attempt that failed, as far as it is known

    def __str__(self) -> str:
        return super().__str__() or (self.__doc__ or "")


class AgentBrokenError(AgentError):
    """The agent cannot answer this, however often it is tried."""

    permanent = True


class UnacceptableInputError(AgentBrokenError):
    """The model's server never accepts these messages."""


class ContextExceededError(AgentBrokenError):
    """The prompt is longer than the model's context."""


class InputFilteredError(AgentBrokenError):
    """The content filter of the model's server refuses the prompt."""


class UnsupportedFieldError(AgentBrokenError):
    """The model's server refuses a field of the request; `field` is its name."""

    def __init__(self, field: str, *args: object) -> None:
        super().__init__(*args)
        self.field = field


class OutOfTimeError(AgentError):
    """The model took longer than it may."""


class NotOursError(AgentError):
    """Somebody else may run this turn by now."""


class OutOfBudgetError(AgentError):
    """The turn may not cost more than it did."""
