"""What is kept of turns beside the conversation, and let go with it: checkpoints and the record of tool calls.

Rooms that conversations do not know register here what they keep; each runs in the transaction of the erasure and says
how many rows went, of which conversation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

from django.db import connection

Gone = Mapping[UUID, int]  # rows by conversation
Forget = Callable[[Sequence[UUID], Mapping[UUID, UUID]], Gone]  # conversations, and whose their turns are

HERE: dict[str, Forget] = {}
OF_PERSON: dict[str, Callable[[int], int]] = {}  # a user, when everything of that person goes

TABLES = ("checkpoints", "checkpoint_blobs", "checkpoint_writes")


def forget_turns(_conversations: Sequence[UUID], turns: Mapping[UUID, UUID]) -> Gone:
    """Erase it in the caller's transaction."""
    gone: Counter[UUID] = Counter()
    if not turns:
        return gone
    threads = [str(id_) for id_ in turns]
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM tool_calls WHERE turn_id = ANY(%s) RETURNING turn_id", [list(turns)])
        gone.update(turns[id_] for (id_,) in cursor.fetchall())
        for table in TABLES:
            cursor.execute(f"DELETE FROM checkpoints.{table} WHERE thread_id = ANY(%s) RETURNING thread_id", [threads])
            gone.update(turns[UUID(id_)] for (id_,) in cursor.fetchall())
    return gone
