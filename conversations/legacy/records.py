"""What goes from a source to the log: chats, records as they were read, and messages made ready to be stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from conversations.models import RejectReason

NOTHING = object()  # where nothing was read that could be kept; null is something
Place = dict[str, Any]  # where a source is; each source knows its own


@dataclass(slots=True)
class Chat:
    """A conversation of the source. `live`: it may go on here, where nobody else's does."""

    key: str
    user: Any = None
    chat_id: Any = None
    title: str = ""
    channel: str | None = None
    live: bool = True
    step: int = 0
    metadata: dict[str, Any] = field(default_factory=dict)
    created: Any = None


@dataclass(slots=True)
class Record:
    """A message as the source has it."""

    chat: Chat
    position: int
    role: Any = None
    content: Any = None
    id: Any = None
    created: Any = None
    deleted: Any = None
    metadata: dict[str, Any] | None = None
    author: Any = ""
    waiting: bool = False
    step: int | None = None
    question: str | None = None

    def as_json(self) -> dict[str, Any]:
        """All of it, in the names that blob.record_of reads, for the case that it cannot be stored."""
        return {
            "role": self.role, "content": self.content, "id": self.id, "timestamp": self.created,
            "deleted_at": self.deleted, "author": self.author, "metadata": self.metadata or {},
        }  # fmt: skip


@dataclass(slots=True)
class Broken:
    """Something in the source that is no message."""

    reason: RejectReason
    place: str
    detail: str = ""
    raw: Any = NOTHING
    chat: Chat | None = None


@dataclass(slots=True)
class Clean:
    """A message that the log takes; what was repaired on the way is in `notes`."""

    chat: Chat
    position: int
    identity: str
    role: str
    content: str
    created: datetime | None
    deleted: datetime | bool | None  # True: it was, nobody knows when
    metadata: str
    author: str
    waiting: bool
    step: int | None
    question: str | None
    notes: tuple[str, ...]
    record: Record


Found = Chat | Record | Broken
Item = Chat | Clean | Broken
