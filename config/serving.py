"""The web process around uvicorn: it keeps its socket while it begins anew, so nobody is refused meanwhile."""

from __future__ import annotations

import os
import signal
import socket

import django
import uvicorn
from django.conf import settings
from uvicorn.supervisors import Multiprocess

from config import reloading
from config.env import env

LISTENER = "PARLEY_LISTENER"  # the number of the socket that an earlier image of this process left open
BACKLOG = 2048


def main() -> None:
    """Serve until a signal comes; where the code has changed, begin anew."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    os.environ.setdefault("DATABASE_POOL", "true")  # before the settings are read: config/asgi.py
    django.setup()
    listener = _listener(env.str("HOST", "127.0.0.1"), settings.PORT)
    config = uvicorn.Config(
        "config.asgi:application",
        workers=env.int("WEB_CONCURRENCY", 1),
        lifespan="off",
        timeout_graceful_shutdown=3,
        access_log=False,
        proxy_headers=False,
        server_header=False,
    )
    server = uvicorn.Server(config)
    sockets = [socket.socket(fileno=os.dup(listener.fileno()))]
    if config.workers > 1:
        reloading.watch(lambda: os.kill(os.getpid(), signal.SIGHUP))  # uvicorn replaces its children one by one
        Multiprocess(config, sockets).run()
        return
    anew: list[bool] = []

    def end() -> None:
        anew.append(True)
        server.should_exit = True

    reloading.watch(end)
    server.run(sockets=sockets)
    if anew:
        os.environ[LISTENER] = str(listener.fileno())
        reloading.begin_anew()


def _listener(host: str, port: int) -> socket.socket:
    """A listening socket that outlives this image: callers queue in it while a new one starts."""
    if number := os.environ.pop(LISTENER, ""):
        found = socket.socket(fileno=int(number))
    else:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        found = socket.socket(family)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
    found.listen(BACKLOG)
    found.set_inheritable(True)
    return found


if __name__ == "__main__":
    main()
