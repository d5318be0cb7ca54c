"""Runs stock django-q2 beside ours: `python -m benchmarks.stock enqueue N` in a process of its own settings."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import psycopg

from config.database import Cluster
from tests.chaos.world import ROOT, eventually


def nothing() -> None:
    """The task."""


def environment(cluster: Cluster, *, tuned: bool = False) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "ignore",
        "DJANGO_SETTINGS_MODULE": "benchmarks.stock_settings",
        "DATABASE_URL": cluster.url.rsplit("/", 1)[0] + "/stock",
        "SECRET_KEY": "of the benchmark only, and of no other use",
        **({"STOCK_TUNED": "1"} if tuned else {}),
    }


def prepare(cluster: Cluster) -> None:
    """A database beside ours on the same server."""
    with psycopg.connect(cluster.url, autocommit=True) as connection:
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = 'stock'").fetchone():
            connection.execute("CREATE DATABASE stock")
    subprocess.run([sys.executable, "-m", "django", "migrate", "-v0"], env=environment(cluster), cwd=ROOT, check=True)


@contextmanager
def running(cluster: Cluster, *, tuned: bool = False) -> Iterator[None]:
    """A stock cluster with its default of one worker per core."""
    popen = subprocess.Popen(
        [sys.executable, "-m", "django", "qcluster"],
        env=environment(cluster, tuned=tuned),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        family = psutil.Process(popen.pid).children(recursive=True)
        popen.terminate()
        try:
            popen.wait(10)
        except subprocess.TimeoutExpired:
            popen.kill()
            popen.wait()
        for process in family:
            if process.is_running():
                process.kill()


def throughput(cluster: Cluster, tasks: int, *, tuned: bool = False) -> float:
    """Tasks per second from the first to the last that leaves the queue."""
    env = environment(cluster, tuned=tuned)
    with psycopg.connect(env["DATABASE_URL"], autocommit=True) as connection:
        connection.execute("TRUNCATE django_q_ormq, django_q_task")
        subprocess.run([sys.executable, "-m", "benchmarks.stock", "enqueue", str(tasks)], env=env, cwd=ROOT, check=True)

        def left() -> int:
            return int(connection.execute("SELECT count(*) FROM django_q_ormq").fetchone()[0])  # type: ignore[index]

        with running(cluster, tuned=tuned):
            eventually(lambda: left() < tasks, 30, "the first task ran")
            begun, first = time.monotonic(), left()
            eventually(lambda: left() == 0, 300, "drained")
            return first / (time.monotonic() - begun)


if __name__ == "__main__":
    import django

    django.setup()
    from django_q.tasks import async_task

    for _ in range(int(sys.argv[2])):
        async_task("benchmarks.stock.nothing")
