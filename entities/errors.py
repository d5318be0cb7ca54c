"""What can go wrong with a row: one base, said in words a person can act on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class EntityError(Exception):
    """The row could not be written."""

    permanent = True

    def __init__(self, text: str = "") -> None:
        super().__init__(text or self.__doc__)


class EntityInvalidError(EntityError):
    """A value breaks a rule of its table."""

    def __init__(self, problems: Mapping[str, Sequence[str]]) -> None:
        super().__init__("; ".join(f"{field}: {' '.join(said)}" for field, said in problems.items()))
        self.problems = problems


class EntityGoneError(EntityError):
    """There is no such row."""


class NothingBeforeError(EntityError):
    """This value was the first: there is nothing before it to put back."""


class CannotRevertError(EntityError):
    """The value before does not fit the table any more."""
