"""What every source is: it says whose conversations it holds, and reads them in order from any place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from typing import Protocol

from conversations.legacy.records import Found, Place


@dataclass(frozen=True)
class Options:
    """How to read a source, where its own names and defaults do not say."""

    table: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    assistants: frozenset[str] = frozenset()
    zone: tzinfo = UTC


class Source(Protocol):
    """A place where conversations are. Reading twice from the same place gives the same records."""

    kind: str
    origin: str  # for people; never a password
    name: list[str]  # whose conversations: the same for the same source, wherever it is reached

    def read(self, after: Place | None) -> Iterator[Found]:
        """Chats and records in order, each chat before its records; from the beginning or behind a place."""

    @property
    def place(self) -> Place:
        """Behind what was read last."""

    def total(self) -> int | None:
        """How much there is, in the units of `done`; None where counting would cost too much."""

    @property
    def done(self) -> int:
        """How much was read."""
