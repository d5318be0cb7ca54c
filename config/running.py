"""What `make run` does: one run per folder, the database up, the schema current, then its services."""

import ctypes
import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import psutil
import structlog
from django.conf import settings
from django.core.management import call_command

from config import staff
from config.database import EmbeddedServerError, held
from config.env import ROOT

log = structlog.get_logger(__name__)

Say = Callable[[str], None]

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
STOP_WITHIN = 8  # seconds, after which what is left of a run is killed
LOOK_EVERY = 1.0  # seconds between two looks at the embedded server
STOPPED_BY_HAND = {0, 130, 143, -signal.SIGINT, -signal.SIGTERM}


class CannotRunError(Exception):
    """Something stands in the way of a run; the text says what to do."""


def everything(port: int, say: Say) -> int:
    """Run Parley on this machine until Ctrl-C; returns an exit code."""
    url = f"http://127.0.0.1:{port}/admin/"
    with only_run_of(settings.DATA_DIR, url):
        check_port(port)
        with held(settings.EMBEDDED_DATABASE) if settings.EMBEDDED_DATABASE else nullcontext():
            call_command("migrate", verbosity=0)
            call_command("demo", verbosity=0)
            if password := staff.ensure_login():
                say(f"Staff login: {staff.USERNAME} / {password}   (shown once; `make password` makes a new one)")
            return supervise(port, lambda: say(f"Parley is ready: {url}   (Ctrl-C stops everything)"))


@contextmanager
def only_run_of(folder: Path, url: str) -> Iterator[None]:
    """Hold the folder's run lock; the kernel frees it however this process ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "run.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise CannotRunError(
                f"Parley already runs from this folder: {lock.read().strip() or 'it is starting'}"
            ) from None
        lock.truncate(0)
        lock.write(f"{url} (process {os.getpid()})\n")
        lock.flush()
        yield


def check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise CannotRunError(
                f"Port {port} cannot be used ({error.strerror}): stop what listens there, or choose another: "
                f"PORT={port + 1} make run"
            ) from None


def supervise(port: int, ready: Callable[[], None]) -> int:
    """Start the services of the Procfile, tell when the web answers, and leave no process behind whatever happens."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)  # children of a killed keeper come to us, not to init
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    keeper = subprocess.Popen(
        [sys.executable, "-m", "config.keeping", *_services()],
        cwd=ROOT,
        env={**os.environ, "PATH": path, "PORT": str(port), "PYTHONUNBUFFERED": "1"},
        preexec_fn=_stop_with_parent,  # noqa: PLW1509  no thread runs yet, and only one system call happens there
    )
    for number in (signal.SIGINT, signal.SIGTERM):  # a terminal's Ctrl-C reaches the keeper directly, too: it asks once
        signal.signal(number, lambda *_: keeper.terminate())
    threading.Thread(target=_announce, args=(port, keeper, ready), daemon=True).start()
    threading.Thread(target=_keep_database_up, args=(keeper,), daemon=True).start()
    code = keeper.wait()
    _end_descendants()
    return 0 if code in STOPPED_BY_HAND else 1


def _services() -> list[str]:
    """What of the Procfile runs here; a bot needs its token."""
    return ["web", "worker", *(["bot"] if settings.TELEGRAM_BOT_TOKEN else [])]


def start_worker(log: Path, *, processes: int) -> subprocess.Popen[bytes]:
    """A worker beside this process, which ends with the calling thread however that ends."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        return subprocess.Popen(
            [sys.executable, str(ROOT / "manage.py"), "worker", "--processes", str(processes)],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            preexec_fn=_stop_with_parent,  # noqa: PLW1509  as in supervise
            start_new_session=True,  # Ctrl-C in the terminal is ours
        )


def _announce(port: int, keeper: subprocess.Popen[bytes], ready: Callable[[], None]) -> None:
    while keeper.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2):
                ready()
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)


def _keep_database_up(keeper: subprocess.Popen[bytes]) -> None:
    """An embedded server that died (out of memory, a stray kill) is started again: nobody else would do it.

    Ours holds the users' lock, so nobody stops it on purpose while the keeper runs.
    """
    cluster = settings.EMBEDDED_DATABASE
    while cluster and keeper.poll() is None:
        if not cluster.answers:
            log.warning("the embedded PostgreSQL is gone; starting it again")
            try:
                cluster.start()
            except EmbeddedServerError as error:
                log.error("the embedded PostgreSQL does not start", reason=str(error))
        time.sleep(LOOK_EVERY)


def _end_descendants() -> None:
    """After an orderly stop there are none; after the keeper was killed they are ours to stop."""
    left = psutil.Process().children(recursive=True)
    for process in left:
        _signal(process, signal.SIGTERM)
    _gone, alive = psutil.wait_procs(left, timeout=STOP_WITHIN)
    for process in alive:
        _signal(process, signal.SIGKILL)


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def _stop_with_parent() -> None:
    """In the child, before its program starts: when we are killed, the keeper is told to stop and stops the rest."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _prctl(option: int, value: int) -> None:
    """Linux only; elsewhere a killed supervisor leaves its children, as it does for every other tool there."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value)
