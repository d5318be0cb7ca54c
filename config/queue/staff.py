"""What staff may do to tasks that were given up."""

from collections.abc import Sequence

import structlog
from django.db import IntegrityError, connection, transaction

from config import deeds

log = structlog.get_logger(__name__)

# The signature stays as it is: a retry makes nothing trustworthy that was not.
RETRY = """
UPDATE queue_tasks SET state = 'waiting', due_at = clock_timestamp(), attempts = 0, error = ''
WHERE id = %s AND state IN ('dead', 'quarantined') RETURNING name
"""
DISCARD = "DELETE FROM queue_tasks WHERE id = ANY(%s) AND state IN ('dead', 'quarantined') RETURNING id, name"


def retry(ids: Sequence[int], *, by: str) -> tuple[int, int]:
    """Let given-up tasks run again from the first attempt; how many do, and how many had a waiting twin already."""
    again = twins = 0
    for task_id in ids:
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(RETRY, [task_id])
                if row := cursor.fetchone():
                    deeds.tell("task.retry", by, ("task", task_id), {"task": row[0]})
                again += cursor.rowcount
        except IntegrityError:  # the same wake-up waits already
            twins += 1
    log.info("tasks retried by staff", by=by, ids=list(ids), again=again)
    return again, twins


def discard(ids: Sequence[int], *, by: str) -> int:
    """Forget given-up tasks; the rows they pointed to stay, and the sweep may wake them again."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(DISCARD, [list(ids)])
        gone = cursor.fetchall()
        for task_id, name in gone:
            deeds.tell("task.discard", by, ("task", task_id), {"task": name})
    log.info("tasks discarded by staff", by=by, tasks=[{"id": row[0], "task": row[1]} for row in gone])
    return len(gone)
