"""Is what is stored what was read? Count, order and content of every conversation an import brought something to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from queue import SimpleQueue
from uuid import UUID

import structlog
from django.db import Error, connection, transaction

from config.crash import crash_point
from conversations.models import ImportShare, ShareState

log = structlog.get_logger(__name__)

MESSAGES_AT_ONCE = 50_000
SHARES_AT_ONCE = 2_000
SHARES_BESIDE = 200
LARGE = 1_000  # messages of a conversation that is compared at the end only: more of it may come at any time

SAME = "coalesce(stored.messages, 0) = share.messages AND coalesce(stored.checksum, 0) = share.checksum"
# What was deleted here since counts as not deleted: a deletion of ours stamps both times, an import never does.
COMPARE = f"""
WITH stored AS MATERIALIZED (
    SELECT conversation_id, count(*) AS messages,
        sum(message_digest(message_index, role, content, created_at,
            CASE WHEN deleted_at <> updated_at THEN deleted_at END)) AS checksum
    FROM messages WHERE conversation_id = ANY(%(ids)s) AND import_id = %(batch)s GROUP BY conversation_id
)
UPDATE import_shares AS share SET
    state = CASE WHEN {SAME} THEN 'equal' ELSE 'differs' END, updated_at = clock_timestamp()
FROM unnest(%(ids)s::uuid[]) AS asked (conversation) LEFT JOIN stored ON stored.conversation_id = conversation
WHERE share.conversation_id = asked.conversation AND share.batch_id = %(batch)s AND share.state <> 'undone'
"""
# Locked first: what a later chunk brings to one of them waits, and makes it one to be compared again.
QUIET = """
SELECT conversation_id FROM import_shares WHERE batch_id = %s AND state = 'written' AND conversation_id IS NOT NULL
    AND updated_at < %s AND messages <= %s ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED
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


@contextmanager
def beside(batch: UUID) -> Iterator[Callable[[datetime | None], None]]:
    """Compare while the import goes on, on a connection of its own, what no chunk has touched since a moment."""
    moments: SimpleQueue[datetime | None] = SimpleQueue()
    thread = threading.Thread(target=_beside, args=(batch, moments), name="import-compare", daemon=True)
    thread.start()
    try:
        yield moments.put
    finally:
        moments.put(None)
        thread.join()


def _beside(batch: UUID, moments: SimpleQueue[datetime | None]) -> None:
    """Only what is equal is said here: of all else the end of the import makes sure."""
    try:
        while until := moments.get():
            while _quiet_ones(batch, until) and moments.empty():
                pass
    except Error as error:
        log.warning("comparing waits for the end of the import", batch=str(batch), reason=type(error).__name__)
    finally:
        connection.close()


def _quiet_ones(batch: UUID, until: datetime) -> int:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(QUIET, [batch, until, LARGE, SHARES_BESIDE])
        ids = [id_ for (id_,) in cursor.fetchall()]
        cursor.execute(f"{COMPARE} AND {SAME}", {"batch": batch, "ids": ids})
        return int(cursor.rowcount)


def checksum(conversation_id: UUID) -> int:
    """Of a whole conversation as it is: two that say the same in the same order have the same."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(sum(message_digest(message_index, role, content, created_at, deleted_at)), 0)"
            " FROM messages WHERE conversation_id = %s",
            [conversation_id],
        )
        return int(cursor.fetchone()[0])
