"""Whom the supervisor judges, and for what."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.db.models.functions import Now

from config.models import QueueWorker
from config.queue import defer, processes, rows
from config.queue.cluster import STUCK_AFTER, Cluster
from config.queue.supervisor import Supervisor

pytestmark = pytest.mark.django_db


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch) -> Supervisor:
    """Of one group that is whole, in the middle of its life, with work that is due."""
    one = Supervisor(1)
    (group,) = one.clusters
    group.pid = os.getpid()
    group.worker_id = QueueWorker.objects.create(host="here", pid=group.pid, processes=1).pk
    monkeypatch.setattr(processes, "members", lambda _leader: set(range(1, 10)))
    monkeypatch.setattr(processes, "reap", dict)
    monkeypatch.setattr(Supervisor, "_restart", lambda _self, cluster, _trouble: setattr(cluster, "restarts", 1))
    monkeypatch.setattr(connection, "close", lambda: None)  # the test's own transaction
    defer("queue.sweep", at=timedelta(seconds=-30))
    return one


def looks(supervisor: Supervisor, *, after: float = 0.0) -> Cluster:
    """One look at the groups, so many seconds after the one before."""
    (group,) = supervisor.clusters
    supervisor._looked = 0.0
    group._moved -= after
    group._whole = group._whole and group._whole - after
    supervisor._look_after_clusters()
    return group


def away(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """The database does not answer, until the returned function is called."""

    def fail(_worker: int) -> None:
        raise OperationalError("the database is away")

    held_by = rows.held_by
    monkeypatch.setattr(rows, "held_by", fail)
    return lambda: monkeypatch.setattr(rows, "held_by", held_by)


def test_a_group_that_starts_no_work_is_restarted(supervisor: Supervisor) -> None:
    assert looks(supervisor).restarts == 0
    assert looks(supervisor, after=STUCK_AFTER + 1).restarts == 1


@pytest.mark.parametrize("number", ["ours", "younger"])
def test_a_killed_worker_is_found_where_its_number_was_given_again(supervisor: Supervisor, number: str) -> None:
    """As in a container, where each worker is process 1, or one of the first few."""
    with subprocess.Popen(["/bin/sleep", "600"]) as younger:
        pid = os.getpid() if number == "ours" else younger.pid
        killed = worker(pid, silent_for=10)
        supervisor._bury_the_killed()
        younger.kill()
    assert QueueWorker.objects.get(pk=killed).stopped_at
    (group,) = supervisor.clusters
    assert not QueueWorker.objects.get(pk=group.worker_id).stopped_at


def test_a_worker_that_lives_and_is_late_is_left_alone(supervisor: Supervisor) -> None:
    late = worker(os.getppid(), silent_for=6)
    supervisor._bury_the_killed()
    assert not QueueWorker.objects.get(pk=late).stopped_at


def test_a_probe_asks_for_the_worker_of_its_own_host() -> None:
    with pytest.raises(CommandError, match="No worker of this host"):
        call_command("worker", "--alive")
    worker(1, silent_for=0, host="elsewhere")
    with pytest.raises(CommandError, match="No worker of this host"):
        call_command("worker", "--alive")
    worker(1, silent_for=0)
    call_command("worker", "--alive")
    worker(1, silent_for=60)
    with pytest.raises(CommandError, match="No worker of this host"):
        call_command("worker", "--alive")


def worker(pid: int, *, silent_for: int, host: str = "") -> int:
    """A row of a worker, with the age of its heartbeat in seconds."""
    beat = Now() - timedelta(seconds=silent_for)
    row = QueueWorker.objects.create(host=host or socket.gethostname(), pid=pid, processes=1, beat_at=beat)
    return int(row.pk)


def test_a_long_outage_is_no_sign_of_a_sick_group(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing could be started meanwhile: the patience for that begins when the database is back."""
    looks(supervisor)
    back = away(monkeypatch)
    looks(supervisor, after=60)
    back()
    assert looks(supervisor, after=1).restarts == 0
    assert looks(supervisor, after=STUCK_AFTER + 1).restarts == 1, "who does not get going then is sick"
