"""manage.py web: the web process."""

import os
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from config.env import env


class Command(BaseCommand):
    help = "Serve the admin and the API with uvicorn (HOST, PORT, WEB_CONCURRENCY)."
    requires_system_checks: list[str] = []

    def handle(self, **_options: Any) -> None:
        """Become uvicorn: a fresh process image reads the settings anew, with the pool that only the web may have."""
        arguments = {
            "--host": env.str("HOST", "127.0.0.1"),
            "--port": settings.PORT,
            "--workers": env.int("WEB_CONCURRENCY", 1),
            "--lifespan": "off",
            "--timeout-graceful-shutdown": 3,
        }
        flat = [str(part) for pair in arguments.items() for part in pair]
        _keep_the_database_lock()
        os.execv(  # noqa: S606  no shell is wanted
            sys.executable,
            [
                sys.executable,
                "-m",
                "uvicorn",
                "config.asgi:application",
                "--no-access-log",
                "--no-proxy-headers",
                "--no-server-header",
                *flat,
            ],
        )


def _keep_the_database_lock() -> None:
    """exec would close the descriptor by which we hold the embedded server: let it through."""
    for name in os.listdir("/dev/fd"):
        try:
            if os.readlink(f"/dev/fd/{name}").endswith("users.lock"):
                os.set_inheritable(int(name), True)
        except OSError:
            continue
