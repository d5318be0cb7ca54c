"""What is kept of turns beside the conversation, and let go with it: checkpoints and the record of tool calls.

Rooms that conversations do not know register here what they keep; each runs in the transaction of the erasure and says
how many rows went.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import UUID

from django.db import connection

from agents.models import ToolCall

HERE: dict[str, Callable[[UUID, Sequence[UUID]], int]] = {}  # a conversation and its turns
OF_PERSON: dict[str, Callable[[int], int]] = {}  # a user, when everything of that person goes

TABLES = ("checkpoints", "checkpoint_blobs", "checkpoint_writes")


def forget_turns(turn_ids: Sequence[UUID]) -> int:
    """Erase it in the caller's transaction; how many rows that were."""
    threads = [str(id_) for id_ in turn_ids]
    gone, _ = ToolCall.objects.filter(turn_id__in=turn_ids).delete()
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"DELETE FROM checkpoints.{table} WHERE thread_id = ANY(%s)", [threads])
            gone += cursor.rowcount
    return gone
