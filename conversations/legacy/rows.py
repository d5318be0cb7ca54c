"""A message as COPY takes it in its binary form: less work than text for whoever makes it and for whoever reads it.

The driver can make such rows, too, but looks for the type of every value: three times as long for a whole row.
"""

from __future__ import annotations

from struct import Struct
from uuid import UUID

from conversations.models import Role

COLUMNS = (
    "conversation_id", "import_id", "message_index", "role", "content", "metadata", "external_id", "author", "inbound",
    "created_at", "deleted_at",
)  # fmt: skip
COPY = f"COPY messages ({', '.join(COLUMNS)}) FROM STDIN (FORMAT binary)"
HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"

# Every field is its length and its bytes; the length of null is -1.
START = Struct(">hi16si16si").pack
NUMBER = Struct(">q").pack
LENGTH = Struct(">i").pack
END = Struct(">i?iqi").pack
ROLES = {role.value: LENGTH(len(role.value)) + role.value.encode() for role in Role}
JSONB = 1  # the version of its binary form


def start(conversation_id: UUID, import_id: UUID) -> bytes:
    """What all rows of a conversation begin with, up to the length of the index."""
    return START(len(COLUMNS), 16, conversation_id.bytes, 16, import_id.bytes, 8)


def row(  # noqa: PLR0913, PLR0917  one per column
    start: bytes, index: int, role: str, content: bytes, metadata: str, name: str, author: str, inbound: bool,
    created: int, deleted: int | None,
) -> bytes:  # fmt: skip
    """One message; times in microseconds as PostgreSQL counts them."""
    data, id_, who = metadata.encode(), name.encode(), author.encode()
    return b"%b%b%b%b%b%b%c%b%b%b%b%b%b%b" % (
        start, NUMBER(index), ROLES[role], LENGTH(len(content)), content, LENGTH(len(data) + 1), JSONB, data,
        LENGTH(len(id_)), id_, LENGTH(len(who)), who,
        END(1, inbound, 8, created, -1 if deleted is None else 8), b"" if deleted is None else NUMBER(deleted),
    )  # fmt: skip
