"""A world to break: a private PostgreSQL that really writes to disk, real workers on it, and the means to hurt both.

Nothing here touches a process that the world did not start. Later parts of the project put their own tasks into an app
of their own and pass its settings module.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import psutil
import psycopg
from django.conf import settings
from django.db import connections

from config.database import SAFE, Cluster, throwaway
from tests.patience import eventually, granted

ROOT = Path(__file__).resolve().parents[2]
STOPPED_WITHIN = 5.0  # seconds, as promised
SEED = int(os.environ.get("PARLEY_SEED", "1"))


@dataclass
class Worker:
    """One running `manage.py worker`."""

    popen: subprocess.Popen[bytes]
    log: Path

    def __post_init__(self) -> None:
        self.process = psutil.Process(self.popen.pid)

    @property
    def family(self) -> list[psutil.Process]:
        """Everything below the supervisor, alive."""
        try:
            found = self.process.children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        return [process for process in found if _alive(process)]

    @property
    def clusters(self) -> list[psutil.Process]:
        return [process for process in self.process.children() if _alive(process)]

    @property
    def sentinels(self) -> list[psutil.Process]:
        return [child for cluster in self.clusters for child in cluster.children() if _alive(child)]

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def stop(self, within: float = STOPPED_WITHIN) -> float:
        """SIGTERM, as a deploy does; the seconds it took."""
        begun = time.monotonic()
        self.popen.send_signal(signal.SIGTERM)
        self.popen.wait(granted(within))
        return time.monotonic() - begun

    def kill(self) -> None:
        """SIGKILL of the supervisor alone."""
        self.popen.kill()
        self.popen.wait()


@dataclass
class World:
    """The server, its workers and the witness file."""

    cluster: Cluster
    folder: Path
    settings_module: str
    workers: list[Worker] = field(default_factory=list)
    dice: random.Random = field(default_factory=lambda: random.Random(SEED))  # noqa: S311  dice

    @property
    def environment(self) -> dict[str, str]:
        return {
            **{name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "COVERAGE_FILE")},
            "DATABASE_URL": self.cluster.url,
            "DJANGO_SETTINGS_MODULE": self.settings_module,
            "SECRET_KEY": settings.SECRET_KEY,
            "PARLEY_WITNESS": str(self.folder / "witness"),
            "PYTHONPATH": str(ROOT),
        }

    def manage(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            env={**self.environment, **environment},
            cwd=ROOT,
            check=False,
            capture_output=True,
            text=True,
        )

    # --- workers ---
    def worker(self, processes: int = 2, *, ready: bool = True, **environment: str) -> Worker:
        """Start `manage.py worker`; by default wait until its processes are there."""
        log = self.folder / f"worker-{len(self.workers)}.log"
        before = len(self.spawned())
        with log.open("wb") as file:
            popen = subprocess.Popen(
                [sys.executable, "manage.py", "worker", "--processes", str(processes)],
                env={**self.environment, **environment},
                cwd=ROOT,
                stdout=file,
                stderr=file,
            )
        worker = Worker(popen, log)
        self.workers.append(worker)
        if ready:
            eventually(lambda: len(self.spawned()) >= before + processes, 30, "worker processes are up")
        return worker

    def stop_workers(self) -> None:
        """The end of a test: nobody the world started survives it."""
        for worker in self.workers:
            family = worker.family
            worker.kill()
            for process in family:
                eventually(lambda process=process: not _alive(process), 10, f"{process} is gone")
        self.workers.clear()

    # --- the database ---
    def restart_database(self) -> None:
        """As a crash of the server: nothing is flushed or said goodbye to."""
        self.cluster.stop("immediate")
        self.cluster.start()

    def rows(self, query: str, *params: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.cluster.url, autocommit=True) as connection:
            return connection.execute(query, params).fetchall()  # type: ignore[call-overload, no-any-return]

    def execute(self, query: str, *params: object) -> None:
        with psycopg.connect(self.cluster.url, autocommit=True) as connection:
            connection.execute(query, params)  # type: ignore[call-overload]

    def count(self, condition: str = "true") -> int:
        return int(self.rows(f"SELECT count(*) FROM queue_tasks WHERE {condition}")[0][0])

    def reset(self) -> None:
        self.stop_workers()
        self.execute("TRUNCATE queue_tasks, queue_workers, queue_minutes, queue_periods RESTART IDENTITY")
        (self.folder / "witness").write_text("")

    # --- the witness ---
    def witnessed(self, kind: str) -> list[str]:
        """What tasks wrote down, in order: the words after `kind`."""
        lines = (self.folder / "witness").read_text().splitlines()
        return [line.split(" ", 1)[1] for line in lines if line.split(" ", 1)[0] == kind]

    def notes(self) -> list[str]:
        """The numbers of the tasks that went through, repeats included."""
        return [line.split()[0] for line in self.witnessed("note")]

    def spawned(self) -> list[int]:
        """The pids of all task processes there ever were."""
        return [int(pid) for pid in self.witnessed("spawned")]

    def task_processes(self, worker: Worker) -> list[psutil.Process]:
        """The living processes that run tasks."""
        spawned = set(self.spawned())
        return [process for process in worker.family if process.pid in spawned]

    @contextmanager
    def connected(self, blocker: Any = None) -> Iterator[None]:
        """Point this process's own Django at the world, so that `defer` and models work on it."""
        url = urlsplit(self.cluster.url)
        own = connections["default"]
        place = {"HOST": unquote(url.hostname or ""), "PORT": str(url.port), "USER": url.username}
        place["NAME"] = url.path.removeprefix("/")
        before = {name: own.settings_dict[name] for name in place}
        with blocker.unblock() if blocker else ExitStack():
            own.close()
            own.settings_dict.update(place)
            try:
                yield
            finally:
                own.close()
                own.settings_dict.update(before)


@contextmanager
def world(settings_module: str = "tests.chaos.settings") -> Iterator[World]:
    with throwaway((*SAFE, "max_connections=200")) as cluster, tempfile.TemporaryDirectory(prefix="parley-") as folder:
        made = World(cluster, Path(folder), settings_module)
        (made.folder / "witness").touch()
        migrated = made.manage("migrate", "-v0")
        assert migrated.returncode == 0, migrated.stderr
        try:
            yield made
        finally:
            made.stop_workers()


def kill(process: psutil.Process) -> None:
    """SIGKILL, unless it is gone already."""
    with suppress(psutil.NoSuchProcess):
        process.send_signal(signal.SIGKILL)


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
