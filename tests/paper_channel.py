"""A channel on paper: takes what it is sent and does what a test tells it to. It passes the suite of the real ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, Protocol
from uuid import UUID

from conversations.channels import Address, Later, Lost, Refused, Result, Sent, Transport

Fault = Literal["too many", "unreachable", "answer lost", "blocked", "malformed"]
FAULTS: tuple[Fault, ...] = ("too many", "unreachable", "answer lost", "blocked", "malformed")


class Stage(Protocol):
    """A transport with the other side in view."""

    @property
    def transport(self) -> Transport: ...

    @property
    def address(self) -> Address: ...

    def fail(self, fault: Fault) -> None:
        """The next call to send meets this."""

    def accepted(self) -> list[str]:
        """The texts the other side has taken, in order, duplicates included."""


@dataclass
class Paper:
    """The transport, and the person who reads."""

    limit: int = 4096
    faults: deque[Fault] = field(default_factory=deque)
    taken: list[tuple[int | None, str, str]] = field(default_factory=list)  # chat, text, key
    typing: int = 0
    during: Callable[[str], None] | None = None  # called while a part is being sent

    def send(self, address: Address, text: str, *, key: str) -> Result:
        if self.during is not None:
            self.during(text)
        match self.faults.popleft() if self.faults else None:
            case "too many":
                return Later(3.0, "too many requests")
            case "unreachable":
                return Later(0.0, "no connection")
            case "blocked":
                return Refused("blocked by the user", gone=True)
            case "malformed":
                return Refused("bad request")
            case "answer lost":
                self.taken.append((address.chat_id, text, key))
                return Lost("the connection broke")
        self.taken.append((address.chat_id, text, key))
        return Sent(str(len(self.taken)))

    def show_typing(self, address: Address) -> None:  # noqa: ARG002  one person reads
        self.typing += 1


@dataclass
class PaperStage:
    transport: Paper = field(default_factory=Paper)
    address: Address = field(default_factory=lambda: Address(7, 7, UUID(int=7)))

    def fail(self, fault: Fault) -> None:
        self.transport.faults.append(fault)

    def accepted(self) -> list[str]:
        return [text for _chat, text, _key in self.transport.taken]


@contextmanager
def stage() -> Iterator[Stage]:
    yield PaperStage()
