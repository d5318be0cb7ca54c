"""Is what is stored what was read? Count, order and content of every conversation an import brought something to."""

from __future__ import annotations

from uuid import UUID

from django.db import connection, transaction

from config.crash import crash_point
from conversations.models import ImportShare, ShareState

MESSAGES_AT_ONCE = 50_000
SHARES_AT_ONCE = 2_000

# What was deleted here since counts as not deleted: a deletion of ours stamps both times, an import never does.
COMPARE = """
WITH stored AS (
    SELECT conversation_id, count(*) AS messages,
        sum(message_digest(message_index, role, content, created_at,
            CASE WHEN deleted_at <> updated_at THEN deleted_at END)) AS checksum
    FROM messages WHERE conversation_id = ANY(%(ids)s) AND import_id = %(batch)s GROUP BY conversation_id
)
UPDATE import_shares AS share SET
    state = CASE WHEN coalesce(stored.messages, 0) = share.messages AND coalesce(stored.checksum, 0) = share.checksum
        THEN 'equal' ELSE 'differs' END, updated_at = clock_timestamp()
FROM unnest(%(ids)s::uuid[]) AS asked (conversation) LEFT JOIN stored ON stored.conversation_id = conversation
WHERE share.conversation_id = asked.conversation AND share.batch_id = %(batch)s AND share.state <> 'undone'
"""


def verify(batch: UUID, *, again: bool = False) -> int:
    """Compare what was not compared yet, or everything again. How many conversations differ."""
    shares = ImportShare.objects.filter(batch=batch, conversation__isnull=False)
    if again:
        shares.exclude(state=ShareState.UNDONE).update(state=ShareState.WRITTEN)
    while chosen := list(shares.filter(state=ShareState.WRITTEN).order_by("id")[:SHARES_AT_ONCE]):
        ids, size = [], 0
        for share in chosen:
            ids.append(share.conversation_id)
            size += share.messages
            if size >= MESSAGES_AT_ONCE:
                break
        _compare(batch, ids)
        crash_point("in_import_verify")
    return shares.filter(state=ShareState.DIFFERS).count()


def _compare(batch: UUID, ids: list[UUID | None]) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")
        cursor.execute(COMPARE, {"batch": batch, "ids": ids})


def checksum(conversation_id: UUID) -> int:
    """Of a whole conversation as it is: two that say the same in the same order have the same."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(sum(message_digest(message_index, role, content, created_at, deleted_at)), 0)"
            " FROM messages WHERE conversation_id = %s",
            [conversation_id],
        )
        return int(cursor.fetchone()[0])
