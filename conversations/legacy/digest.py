"""The checksum of a conversation, as the database computes it (message_digest in migration 0017)."""

from __future__ import annotations

from hashlib import sha256
from struct import Struct

from conversations.models import Role

HEAD = Struct(">qqq").pack
ROLES = {role.value: role.value.encode() for role in Role}
NUMBER = Struct(">q").unpack_from


def digest(index: int, role: str, content: bytes, created: int, deleted: int | None) -> int:
    """One message with its index, as a number of 64 bits; the sum over a conversation is its checksum."""
    number: int = NUMBER(sha256(b"%b%b\0%b" % (HEAD(index, created, deleted or 0), ROLES[role], content)).digest())[0]
    return number
