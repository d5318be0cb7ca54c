"""What a web process gets ready beside its first requests, for rooms the ground floor does not know."""

from __future__ import annotations

from collections.abc import Callable
from threading import Timer

import structlog
from django.db import DatabaseError, connection

log = structlog.get_logger(__name__)

AFTER = 1.0  # seconds: the first health checks come before
PREPARATIONS: list[Callable[[], None]] = []  # rooms append theirs in AppConfig.ready(); nothing waits for them


def begun() -> None:
    """Called once, where the web's application is made: not by commands, not by workers."""
    if PREPARATIONS:
        timer = Timer(AFTER, _beside)
        timer.daemon = True
        timer.start()


def prepare() -> None:
    """One after the other. What fails is met again by the first request that needs it, and told there."""
    try:
        for preparation in list(PREPARATIONS):
            preparation()
    except DatabaseError as error:
        log.info("not prepared: the database is away", reason=type(error).__name__)
    except Exception:
        log.exception("not prepared")


def _beside() -> None:
    try:
        prepare()
    finally:
        connection.close()  # this thread's
