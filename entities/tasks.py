"""What the queue does for this room."""

from __future__ import annotations

from config.queue import every, task
from entities import backup


@every(3600, offset=600)
@task("backups.look", timeout=3600, attempts=3)
def look() -> None:
    """Take the daily backup once it is due, whenever the machine was on."""
    if backup.is_due():
        backup.take(by="schedule", reason="daily")
