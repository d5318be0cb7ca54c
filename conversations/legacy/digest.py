"""The checksum of a conversation, as the database computes it (message_digest in migration 0017)."""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from struct import Struct

from conversations.legacy.moments import microseconds

HEAD = Struct(">qqq").pack


def digest(index: int, role: str, content: str, created: datetime, deleted: datetime | None) -> int:
    """One message with its index, as a number of 64 bits; the sum over a conversation is its checksum."""
    head = HEAD(index, microseconds(created), 0 if deleted is None else microseconds(deleted))
    return int.from_bytes(
        sha256(b"%b%b\0%b" % (head, role.encode(), content.encode())).digest()[:8], "big", signed=True
    )
