"""Keeps clusters running: starts them, judges them by the work they start, ends them whole, leaves nobody behind."""

import os
import select
import signal
import socket
import time
from types import FrameType
from typing import NoReturn

import structlog
from django.db import DatabaseError, InterfaceError, connection, transaction

from config.queue import processes, rows
from config.queue.beats import Beats
from config.queue.cluster import Cluster
from config.queue.deadline import OverrunError, deadline
from config.queue.deferring import defer
from config.queue.registry import PERIODS, WARMERS
from config.reloading import Watch

log = structlog.get_logger(__name__)

GROUP = 4  # worker processes per cluster, so that one sick cluster is not all of them
LOOK_EVERY = 1.0  # seconds between two looks at the clusters
BEAT_EVERY = 0.9  # seconds between two heartbeats; at each, periods get their turn, and the shortest is a second
STOP_WITHIN = 3.5  # seconds for running tasks to end after SIGTERM
STOPPED_AFTER = 4.7  # seconds in all: the rest is for ending them and freeing what they held
PROMPT = 3.0  # seconds the database may take to answer the supervisor
SKEW = 2.0  # seconds this machine's clock may be off before it is worth a warning
AWAY = (DatabaseError, InterfaceError, OverrunError)


class Stop(BaseException):
    """SIGTERM or SIGINT came."""


class Outdated(BaseException):
    """The code has changed under us."""


class Supervisor:
    """One per machine; several may run against one database."""

    def __init__(self, size: int) -> None:
        groups = -(-size // GROUP)
        beats = Beats()
        self.clusters = [Cluster(len(range(group, size, groups)), beats) for group in range(groups)]
        self._looked = 0.0
        self._slots: dict[str, int] = {}
        self._beaten = 0.0
        self._database_said = ""
        self._code = Watch()
        self._stop_asked = False

    def run(self) -> bool:
        """Work until SIGTERM or SIGINT, then stop within five seconds. True where the command should begin anew."""
        processes.adopt_orphans()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        try:
            for prepare in WARMERS:
                prepare()
            self._register()
            self._live()
        except Stop:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            self._stop_asked = False
            self._stop()
            return False
        return True

    def _on_signal(self, _number: int, _frame: FrameType | None) -> NoReturn:
        self._stop_asked = True
        raise Stop

    def _live(self) -> None:
        """Until a signal comes, or the code has changed: then everything is stopped, and a new image takes over."""
        try:
            while True:
                self._look_after_clusters()
                select.select([], [], [], LOOK_EVERY / 4)
        except Outdated:
            log.info("the code has changed, this worker begins anew", pid=os.getpid())
            self._stop()

    # --- living ---
    def _register(self) -> None:
        """A row per cluster, as soon as there is a database with our tables."""
        delay = 0.1
        while not all(cluster.worker_id for cluster in self.clusters):
            try:
                with deadline(PROMPT), transaction.atomic(), connection.cursor() as cursor:
                    for cluster in self.clusters:
                        cursor.execute(REGISTER, [socket.gethostname(), os.getpid(), cluster.size])
                        cluster.worker_id = cursor.fetchone()[0]
            except AWAY as error:
                self._database_away(error)
                for cluster in self.clusters:
                    cluster.worker_id = 0
                time.sleep(delay)
                delay = min(2.0, delay * 2)
        for cluster in self.clusters:
            cluster.start()

    def _look_after_clusters(self) -> None:
        """1. the dead start anew, 2. the sick are killed and start anew, 3. heartbeat, 4. periodic tasks."""
        ended = processes.reap()
        for cluster in self.clusters:
            if cluster.pid in ended:
                self._restart(cluster, f"the cluster ended with exit code {ended[cluster.pid]}")
        if time.monotonic() - self._looked < LOOK_EVERY:
            return
        self._looked = time.monotonic()
        sick: list[tuple[Cluster, str]] = []
        try:
            with deadline(PROMPT):
                sick = [(cluster, trouble) for cluster in self.clusters if (trouble := cluster.examine())]
                if time.monotonic() - self._beaten >= BEAT_EVERY:
                    self._beat()
            self._database_said = ""
        except AWAY as error:
            self._database_away(error)
            for cluster in self.clusters:
                cluster.excuse()
        for cluster, trouble in sick:
            self._restart(cluster, trouble)

    def _restart(self, cluster: Cluster, trouble: str) -> None:
        """Kill the whole group, free what it held, start it anew; counted, logged, and shown to staff."""
        log.error("worker group restarted", worker=cluster.worker_id, pid=cluster.pid, trouble=trouble)
        cluster.kill()
        self._wait_for_the_end([cluster], 2.0)
        cluster.restarts += 1
        try:
            with deadline(PROMPT):
                rows.release(cluster.worker_id, blame="Its worker group was killed in the middle.")
                with connection.cursor() as cursor:
                    cursor.execute(RESTARTED, [trouble, cluster.worker_id])
        except AWAY as error:
            self._database_away(error)  # the new cluster's pusher and the next look free what it held
        cluster.start()

    def _beat(self) -> None:
        """Tell that we live, how far our clock is off, and queue the periodic tasks whose time has come."""
        before = time.time()
        with connection.cursor() as cursor:
            cursor.execute("SELECT extract(epoch FROM clock_timestamp())::float8")
            epoch = cursor.fetchone()[0]
            skew = (before + time.time()) / 2 - epoch
            for cluster in self.clusters:
                cursor.execute(BEAT, [round(1000 * skew), cluster.worker_id])
        if abs(skew) > SKEW:
            log.warning("this machine's clock is off", seconds=round(skew, 1))
        self._bury_the_killed()
        if self._code.outdated():
            raise Outdated
        self._beaten = time.monotonic()
        for period in PERIODS.values():
            slot = period.slot(epoch)
            if self._slots.get(period.name) != slot:
                queue_slot(period.name, slot)
                self._slots[period.name] = slot

    def _bury_the_killed(self) -> None:
        """Where a supervisor of this machine was killed, the kernel ended its clusters: what they held is free.

        In a container its number is given again, often to its successor: to us, or to a process that is younger.
        """
        with connection.cursor() as cursor:
            cursor.execute(GONE, [socket.gethostname(), [cluster.worker_id for cluster in self.clusters]])
            for worker_id, pid, beat in cursor.fetchall():
                if pid == os.getpid() or not processes.is_older(pid, beat):
                    freed = rows.release(worker_id, blame="Its worker was killed in the middle.")
                    log.warning("a killed worker was found", worker=worker_id, freed=freed)
                    cursor.execute(STOPPED, [worker_id])

    def _database_away(self, error: BaseException) -> None:
        """Workers wait for it themselves; we neither judge nor restart anybody meanwhile.

        A signal in the middle of a transaction comes here as the error of its rollback: it is still a signal.
        """
        if self._stop_asked:
            connection.close()
            raise Stop from error
        said = type(error).__name__
        if said != self._database_said:
            log.warning("supervisor lost the database", reason=str(error).strip().splitlines()[0])
        self._database_said = said
        connection.close()

    # --- dying ---
    def _stop(self) -> None:
        """Ask, wait, kill; then free what was held, so that nobody has to wait for a lease to run out."""
        log.info("worker stops", groups=[cluster.pid for cluster in self.clusters])
        begun = time.monotonic()
        for cluster in self.clusters:
            if cluster.pid:
                processes.ask_to_stop(cluster.pid)
        self._wait_for_the_end(self.clusters, STOP_WITHIN)
        for cluster in self.clusters:
            cluster.kill()
        self._wait_for_the_end(self.clusters, 0.5)
        connection.close()
        try:
            with deadline(max(0.5, STOPPED_AFTER - (time.monotonic() - begun))), connection.cursor() as cursor:
                for cluster in self.clusters:
                    rows.release(cluster.worker_id)
                    cursor.execute(STOPPED, [cluster.worker_id])
        except AWAY as error:
            self._database_away(error)

    def _wait_for_the_end(self, clusters: list[Cluster], seconds: float) -> None:
        deadline_at = time.monotonic() + seconds
        while time.monotonic() < deadline_at:
            processes.reap()
            if not any(processes.group_exists(cluster.pid) for cluster in clusters if cluster.pid):
                return
            time.sleep(0.02)


REGISTER = "INSERT INTO queue_workers (host, pid, processes) VALUES (%s, %s, %s) RETURNING id"
BEAT = "UPDATE queue_workers SET beat_at = clock_timestamp(), clock_skew_ms = %s WHERE id = %s"
GONE = """
SELECT id, pid, extract(epoch FROM beat_at)::float8 FROM queue_workers
WHERE host = %s AND id <> ALL (%s) AND stopped_at IS NULL AND beat_at < clock_timestamp() - interval '5 seconds'
"""
RESTARTED = "UPDATE queue_workers SET restarts = restarts + 1, trouble = %s WHERE id = %s"
STOPPED = "UPDATE queue_workers SET stopped_at = clock_timestamp() WHERE id = %s"
NEXT_SLOT = """
INSERT INTO queue_periods AS known (name, slot) VALUES (%s, %s)
ON CONFLICT (name) DO UPDATE SET slot = EXCLUDED.slot WHERE known.slot < EXCLUDED.slot RETURNING 1
"""


def queue_slot(name: str, slot: int) -> bool:
    """Queue a periodic task unless some worker has queued this slot, or a later one. Missed slots are not caught up."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(NEXT_SLOT, [name, slot])
        if cursor.fetchone() is None:
            return False
        defer(name, key=[name])
        return True
