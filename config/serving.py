"""The web process around uvicorn: it keeps its socket while it begins anew, so nobody is refused meanwhile."""

from __future__ import annotations

import os
import signal
import socket
from typing import Any

import django
import uvicorn
from django.conf import settings
from uvicorn.supervisors import Multiprocess

from config import reloading
from config.env import env
from config.slow import HeadersInTime

LISTENER = "PARLEY_LISTENER"  # the number of the socket that an earlier image of this process left open
BACKLOG = 2048
STARTS_WITHIN = 30  # seconds a process may take to begin on a machine that is busy; uvicorn allows 5
TRY_AGAIN = 5.0  # seconds until what could not be replaced is replaced after all


class Rolling(Multiprocess):
    """Processes that are replaced one by one, until none is left that began before."""

    def restart_all(self) -> None:
        """uvicorn gives up at the first that is slow to begin; those behind it would serve the old code for ever."""
        before = {process.pid for process in self.processes}
        while not self.should_exit.is_set():
            super().restart_all()
            if before.isdisjoint(process.pid for process in self.processes):
                return
            self.should_exit.wait(TRY_AGAIN)
            self._heed_stop()

    def _heed_stop(self) -> None:
        """What asks us to end is not kept waiting by a replacement that fails again and again."""
        if {signal.SIGINT, signal.SIGTERM} & set(self.signal_queue):
            self.should_exit.set()


def main() -> None:
    """Serve until a signal comes; where the code has changed, begin anew."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    os.environ.setdefault("DATABASE_POOL", "true")  # before the settings are read: config/asgi.py
    django.setup()
    listener = _listener(env.str("HOST", "127.0.0.1"), settings.PORT)
    config = settled("config.asgi:application", workers=env.int("WEB_CONCURRENCY", 1))
    server = uvicorn.Server(config)
    sockets = [socket.socket(fileno=os.dup(listener.fileno()))]
    if config.workers > 1:
        reloading.watch(lambda: os.kill(os.getpid(), signal.SIGHUP))
        Rolling(config, sockets).run()
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


def settled(application: Any, *, workers: int = 1) -> uvicorn.Config:
    """uvicorn as we run it, for an ASGI application or its name."""
    return uvicorn.Config(
        application,
        workers=workers,
        http=HeadersInTime,
        lifespan="off",
        log_config=None,  # its lines go the way of ours: JSON in production
        timeout_graceful_shutdown=3,
        timeout_worker_healthcheck=STARTS_WITHIN,
        access_log=False,
        proxy_headers=False,
        server_header=False,
    )


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
