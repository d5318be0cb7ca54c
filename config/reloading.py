"""Is the code in this process the code the database is made for? A higher room registers whom to ask.

The number moves when files of the project were changed and the database with them; a process that began before reads
another number than it did, ends its work and begins anew with the same command.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable

import structlog
from django.db import DatabaseError, connection

log = structlog.get_logger(__name__)

LOOK_EVERY = 2.0  # seconds between two looks of a process that has no rhythm of its own
GENERATIONS: list[Callable[[], int]] = []


class Watch:
    """What the number was when this process began."""

    def __init__(self) -> None:
        self._seen: int | None = None
        self._now: int | None = None

    def outdated(self) -> bool:
        """Has it moved? The first answer is the one to compare with."""
        self._now = sum(ask() for ask in GENERATIONS)
        if self._seen is None:
            self._seen = self._now
        return self._now != self._seen

    def accept(self) -> None:
        """What was noticed is being acted upon: from here on that is the number to compare with."""
        self._seen = self._now


def watch(act: Callable[[], None]) -> threading.Event:
    """Look from a thread of its own, and act whenever the number has moved; set the event to stop looking."""
    over = threading.Event()
    threading.Thread(target=_look, args=(act, over), name="reloading", daemon=True).start()
    return over


def _look(act: Callable[[], None], over: threading.Event) -> None:
    """A process may live on after it has acted, as one does that replaces its children: it goes on looking."""
    seen = Watch()
    while not over.wait(LOOK_EVERY):
        try:
            outdated = seen.outdated()
        except DatabaseError:
            outdated = False  # it is away; what changed meanwhile is seen when it is back
        finally:
            connection.close()
        if outdated:
            log.info("the code has changed, this process begins anew", pid=os.getpid())
            seen.accept()
            act()


def begin_anew() -> None:
    """Become the same command again, with the files as they are now."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606  no shell is wanted
