"""The checksum of a conversation, as the database computes it (message_digest in migration 0017)."""

from __future__ import annotations

from hashlib import sha256
from struct import Struct

HEAD = Struct(">qqq").pack


def digest(index: int, role: str, content: bytes, created: int, deleted: int | None) -> int:
    """One message with its index, as a number of 64 bits; the sum over a conversation is its checksum."""
    summed = sha256(b"%b%b\0%b" % (HEAD(index, created, deleted or 0), role.encode(), content))
    return int.from_bytes(summed.digest()[:8], "big", signed=True)
