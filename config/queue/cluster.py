"""One group of processes: a django-q2 cluster, its row in `queue_workers`, and the signs that it is sick."""

import time
from dataclasses import dataclass

import structlog
from django.db import connection, connections

from config.queue import processes, rows, running
from config.queue.beats import Beats

log = structlog.get_logger(__name__)

AUXILIARY = 4  # processes of a cluster besides its workers: the cluster itself, sentinel, pusher, monitor
STUCK_AFTER = 5.0  # seconds in which work was due and none was started
FROZEN_AFTER = 10.0  # seconds in which a process that runs a task gave no sign of life
GRACE = 20.0  # seconds a fresh cluster has to get all its processes up, on a busy machine


@dataclass
class Cluster:
    """Seen from the supervisor, which is its parent."""

    size: int
    beats: Beats
    worker_id: int = 0
    pid: int = 0
    started: float = 0.0
    restarts: int = 0
    _progress: object = None
    _moved: float = 0.0
    _whole: float = 0.0

    def start(self) -> None:
        """Fork the cluster: cheap, and it shares the memory of what is already imported."""
        connections.close_all()  # a connection must never be shared across a fork
        self.pid = processes.fork_group(lambda: run_cluster(self.worker_id, self.size, self.beats))
        self.started, self._whole = time.monotonic(), 0.0
        log.info("worker group started", worker=self.worker_id, pid=self.pid, processes=self.size)

    def kill(self) -> None:
        if self.pid:
            processes.kill_group(self.pid)

    def excuse(self) -> None:
        """The database is away, nothing can be started: what our patience waits for is counted anew from here."""
        self._moved = time.monotonic()
        self._whole = self._whole and self._moved

    def examine(self) -> str:
        """Free what dead processes held, end the frozen, and tell what is wrong with the group, or nothing."""
        now = time.monotonic()
        living = processes.members(self.pid)
        held = rows.held_by(self.worker_id)
        self._free_the_dead(held, living)
        self._kill_the_frozen(held, living)
        if len(living) >= self.size + AUXILIARY:
            self._moved = self._moved if self._whole else now
            self._whole = now
        if not self._whole:
            return "it did not start" if now - self.started > GRACE else ""
        if now - self._whole > STUCK_AFTER:
            return f"only {len(living)} of {self.size + AUXILIARY} processes live"
        if any(row.overdue > STUCK_AFTER for row in held if row.pid in living):
            return "a task outlived its lease"
        running_now = sum(row.pid in living for row in held)
        progress = (_tasks_ended(self.worker_id), frozenset(row.claim for row in held if row.pid))
        if progress != self._progress or running_now >= self.size or not _work_waits(held):
            self._progress, self._moved = progress, now
        if now - self._moved > STUCK_AFTER:
            return f"work is due and nothing was started for {STUCK_AFTER:.0f} s"
        return ""

    def _free_the_dead(self, held: list[rows.Held], living: set[int]) -> None:
        for row in held:
            if row.pid is not None and row.pid not in living:
                log.error("task's process died", worker=self.worker_id, pid=row.pid, task_id=row.claim.id)
                rows.fail(row.claim, rows.Place(self.worker_id, row.pid), "Its worker process died in the middle.")

    def _kill_the_frozen(self, held: list[rows.Held], living: set[int]) -> None:
        """One process only: the cluster replaces it, and its neighbours go on."""
        self.beats.collect()  # after `held` was read: who holds a row has beaten before
        for row in held:
            if (
                row.pid in living
                and self.beats.silence(row.pid) > FROZEN_AFTER
                and processes.kill_unless_stopped(row.pid)
            ):
                log.error("queue.frozen_process_killed", worker=self.worker_id, pid=row.pid, task_id=row.claim.id)
                reason = f"Its process was frozen for {FROZEN_AFTER:.0f} s, in a call that nothing interrupts."
                rows.fail(row.claim, rows.Place(self.worker_id, row.pid), reason)


def run_cluster(worker_id: int, size: int, beats: Beats) -> None:
    """The life of a cluster's first process; ends when its sentinel does."""
    from django_q.cluster import Cluster as DjangoQCluster
    from django_q.conf import Conf

    connections.close_all()
    running.worker_id, running.beats = worker_id, beats
    Conf.WORKERS, Conf.QUEUE_LIMIT = size, 1  # a task waits in rows, where every cluster can reach it, not in memory
    cluster = DjangoQCluster()
    cluster.start()
    cluster.sentinel.join()
    if cluster.sentinel.exitcode:
        raise SystemExit(f"The sentinel of worker {worker_id} ended with {cluster.sentinel.exitcode}.")


def _tasks_ended(worker_id: int) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(sum(done + failed), 0) FROM queue_minutes"
            " WHERE worker_id = %s AND minute > clock_timestamp() - interval '2 minutes'",
            [worker_id],
        )
        return int(cursor.fetchone()[0])


def _work_waits(held: list[rows.Held]) -> bool:
    """Is anything claimed and not started, or due and not claimed, for longer than a moment?"""
    if any(row.pid is None and row.age > 1 for row in held):
        return True
    with connection.cursor() as cursor:
        due_in = rows.next_due_in(cursor)
    return due_in is not None and due_in < -1
