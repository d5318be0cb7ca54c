"""What a chat in the terminal needs beside it: a database with our tables, and a worker that answers."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.conf import settings
from django.core.management import call_command
from django.db import InterfaceError, OperationalError, connection
from django.utils.translation import gettext as _

from config import health
from config.queue import numbers
from config.running import start_worker
from conversations.channels import ChannelUnavailableError

STOPS_WITHIN = 8  # seconds


def prepare(say: Callable[[str], object]) -> None:
    """Bring the embedded database up to the code; somebody else's database is theirs to migrate."""
    found = health.migrations()
    if found.ok:
        return
    if settings.EMBEDDED_DATABASE is None:
        raise ChannelUnavailableError(f"The database does not fit this code ({found.detail}). {found.fix}")
    say(_("Preparing the database, once"))
    call_command("migrate", verbosity=0)
    call_command("demo", verbosity=0)


class Helper:
    """A worker of our own, for as long as nobody else's lives."""

    def __init__(self) -> None:
        self.worker: subprocess.Popen[bytes] | None = None

    def needed(self) -> bool:
        """Asked off the main thread: does nobody run the queue?"""
        if self.worker is not None and self.worker.poll() is None:
            return False
        try:
            return not numbers.worker().ok
        except (OperationalError, InterfaceError):
            connection.close()
            return False

    def start(self) -> None:
        """On the main thread: the kernel ends the worker with the thread that started it."""
        if self.worker is None or self.worker.poll() is not None:
            self.worker = start_worker(settings.DATA_DIR / "console-worker.log", processes=2)

    def stop(self) -> None:
        if self.worker is None:
            return
        self.worker.terminate()
        try:
            self.worker.wait(STOPS_WITHIN)
        except subprocess.TimeoutExpired:
            self.worker.kill()
            self.worker.wait()


@contextmanager
def helping() -> Iterator[Helper]:
    helper = Helper()
    try:
        yield helper
    finally:
        helper.stop()
