"""The one way to enqueue."""

from datetime import datetime, timedelta
from typing import Any

import structlog

from config.queue import rows
from config.queue.errors import ArgumentsError
from config.queue.registry import known


def defer(
    task: str, *args: Any, at: datetime | timedelta | None = None, key: str | list[Any] | tuple[Any, ...] | None = None
) -> int | None:
    """Queue a registered task in the caller's transaction: rolled back means never queued.

    `at` is a time, or a distance from the database's now. While a task of this name and `key` (text, or a list that
    becomes a JSON array) waits, another is not added: it only moves the waiting one forward. The new row's id, or None.
    """
    if isinstance(at, datetime) and at.tzinfo is None:
        raise ArgumentsError(f"{task}: a due time needs a time zone.")
    return rows.enqueue(signed(task, *args, key=key), at)


def signed(task: str, *args: Any, key: str | list[Any] | tuple[Any, ...] | None = None) -> list[str | None]:
    """What the SQL function `defer_task` takes: for a statement that enqueues by itself."""
    request_id = str(structlog.contextvars.get_contextvars().get("request_id", ""))
    return rows.sign(known(task), args, key=key, request_id=request_id)
