"""manage.py web: the web process."""

import os
import sys
from typing import Any

from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Serve the admin and the API with uvicorn (HOST, PORT, WEB_CONCURRENCY)."
    requires_system_checks: list[str] = []

    def handle(self, **_options: Any) -> None:
        """Become uvicorn: a fresh process image reads the settings anew, with the pool that only the web may have."""
        _keep_the_database_lock()
        os.execv(sys.executable, [sys.executable, "-m", "config.serving"])  # noqa: S606  no shell is wanted


def _keep_the_database_lock() -> None:
    """exec would close the descriptor by which we hold the embedded server: let it through."""
    for name in os.listdir("/dev/fd"):
        try:
            if os.readlink(f"/dev/fd/{name}").endswith("users.lock"):
                os.set_inheritable(int(name), True)
        except OSError:
            continue
