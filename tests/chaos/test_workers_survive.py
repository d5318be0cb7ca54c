"""Real workers, real SIGKILL: what is queued runs, and nobody is left behind."""

import signal
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from config.queue import defer
from tests.chaos.world import Worker, World, kill
from tests.patience import LONG, eventually

ROUNDS = 50 if LONG else 3
CYCLES = 500 if LONG else 5
IN_TIME = 15  # seconds, as promised


def idle_victims(chaos: World, worker: Worker, which: int) -> list[psutil.Process]:
    """The process that holds the lock of the cluster's queue, the others, or any."""
    processes = chaos.task_processes(worker)
    holding = holders(processes)
    return [holding or processes, [p for p in processes if p not in holding] or processes, processes][which % 3]


def holders(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Who waits for a task holds the lock of the queue, and reads from its pipe; all others wait for the lock."""
    return [process for process in processes if _reads(process).startswith("pipe:")]


def _reads(process: psutil.Process) -> str:
    """From what; nothing where it does something else."""
    with suppress(OSError, ValueError):  # it is gone, or "running"
        call, fd, *_ = Path(f"/proc/{process.pid}/syscall").read_text().split()
        if call == "0":
            return str(Path(f"/proc/{process.pid}/fd/{int(fd, 16)}").readlink())
    return ""


@pytest.mark.long
def test_a_killed_idle_process_does_not_make_its_cluster_deaf(chaos: World) -> None:
    worker = chaos.worker(processes=2)
    for number in range(ROUNDS):
        eventually(lambda: len(chaos.task_processes(worker)) == 2, 30, "both processes are up")
        victims = idle_victims(chaos, worker, number)
        kill(chaos.dice.choice(victims))
        defer("stage.note", number)
        eventually(lambda number=number: str(number) in chaos.notes(), IN_TIME, f"task {number} ran after the kill")
    assert sorted(map(int, chaos.notes())) == list(range(ROUNDS))


@pytest.mark.long
def test_a_deaf_cluster_is_restarted_counted_and_logged(chaos: World) -> None:
    worker = chaos.worker(processes=1)
    found: list[psutil.Process] = []
    eventually(
        lambda: found.extend(holders(chaos.task_processes(worker))) or found, 10, "one waits, and holds the lock"
    )
    kill(found[0])
    defer("stage.note", 1)
    eventually(lambda: chaos.notes() == ["1"], IN_TIME, "the task ran")
    eventually(lambda: chaos.rows("SELECT restarts FROM queue_workers") == [(1,)], 5, "the restart was counted")
    assert "worker group restarted" in worker.text()


@pytest.mark.long
@pytest.mark.parametrize("victim", ["sentinel", "cluster", "supervisor"])
def test_killing_a_parent_leaves_no_orphan_and_work_goes_on(chaos: World, victim: str) -> None:
    for number in range(20 if LONG else 1):
        worker = chaos.worker(processes=2)
        old = worker.family
        defer("stage.slow", number, 3600)
        eventually(lambda: len(chaos.witnessed("begun")) == 1, 10, "a task is running")
        if victim == "supervisor":
            worker.kill()
            chaos.workers.remove(worker)
        else:
            kill({"sentinel": worker.sentinels, "cluster": worker.clusters}[victim][0])
        defer("stage.note", number)
        if victim == "supervisor":
            worker = chaos.worker(processes=2)
            slow = "name = 'stage.slow' AND error = 'Its worker was killed in the middle.'"
            eventually(lambda slow=slow: chaos.count(slow) == 1, IN_TIME, "the next one freed what it held")
        eventually(lambda old=old: not any(_works(process) for process in old), 10, "0 orphans")
        eventually(lambda number=number: str(number) in chaos.notes(), IN_TIME, "work goes on")
        zombies = [p for p in worker.process.children(recursive=True) if p.status() == psutil.STATUS_ZOMBIE]
        eventually(lambda zombies=zombies: not any(p.is_running() for p in zombies), 5, "zombies are reaped")
        chaos.reset()


def _works(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.long
def test_400_tasks_survive_20_random_kills(chaos: World) -> None:
    tasks, kills = (400, 20) if LONG else (400, 8)
    worker = chaos.worker(processes=4)
    for number in range(tasks):
        defer("stage.slow", number, 0.05)
    for _ in range(kills):
        seen = len(chaos.notes())
        eventually(lambda seen=seen: len(chaos.notes()) > seen + 3 or chaos.count() == 0, 40, "progress after a kill")
        if family := worker.family:
            kill(chaos.dice.choice(family))
    eventually(lambda: len(set(chaos.notes())) == tasks, 90, f"{tasks} tasks ran, {len(set(chaos.notes()))} did")
    assert {int(note) for note in chaos.notes()} == set(range(tasks))
    eventually(lambda: chaos.count() == 0, 30, "no row is left")


@pytest.mark.long
def test_start_and_stop_again_and_again(chaos: World) -> None:
    """Every stop within five seconds, whatever the moment, sometimes with a task running that does not end."""
    for number in range(CYCLES):
        worker = chaos.worker(processes=2, ready=number % 4 != 0)
        if number % 7 == 3:
            defer("stage.slow", number, 30)
            eventually(lambda number=number: str(number) in _begun(chaos), 10, "it is running")
        family = worker.family
        worker.stop()
        assert not [process for process in family if _works(process)]
        chaos.workers.remove(worker)
        chaos.execute("DELETE FROM queue_tasks")


def _begun(chaos: World) -> list[str]:
    return [words.split()[0] for words in chaos.witnessed("begun")]


@pytest.mark.long
def test_a_stop_lets_running_tasks_end_and_frees_those_that_do_not(chaos: World) -> None:
    worker = chaos.worker(processes=2)
    defer("stage.slow", 1, 1.0)
    defer("stage.slow", 2, 25.0)
    eventually(lambda: len(_begun(chaos)) == 2, 10, "both run")
    worker.stop()
    assert chaos.notes() == ["1"]
    left = (
        "SELECT state, attempts, due_at <= now() FROM queue_tasks WHERE name = 'stage.slow'"  # not what comes by itself
    )
    assert chaos.rows(left) == [("waiting", 0, True)]
    assert chaos.rows("SELECT stopped_at IS NOT NULL FROM queue_workers") == [(True,)]


@pytest.mark.long
def test_a_paused_process_that_lost_its_lease_changes_nothing(chaos: World) -> None:
    """SIGSTOP past the lease: somebody else finishes; the sleeper wakes, and its claim is worth nothing."""
    worker = chaos.worker(processes=2)
    defer("stage.slow", 7, 0.3)
    eventually(lambda: _begun(chaos) == ["7"], 10, "it runs")
    sleeper = psutil.Process(int(chaos.witnessed("begun")[0].split()[1]))
    sleeper.send_signal(signal.SIGSTOP)
    chaos.execute("UPDATE queue_tasks SET lease_until = now()")
    eventually(lambda: chaos.notes() == ["7"], 10, "the other process ran it")
    eventually(lambda: chaos.count() == 0, 5, "and settled it")
    before = chaos.rows("SELECT sum(done) FROM queue_minutes WHERE name = 'stage.slow'")
    sleeper.send_signal(signal.SIGCONT)
    eventually(lambda: "lease lost" in worker.text(), 10, "the sleeper noticed")
    assert chaos.rows("SELECT sum(done) FROM queue_minutes WHERE name = 'stage.slow'") == before


@pytest.mark.long
def test_a_clock_that_is_wrong_starts_nothing_early_and_is_reported(chaos: World) -> None:
    ahead = chaos.worker(processes=1, PARLEY_SKEW="300")
    behind = chaos.worker(processes=1, PARLEY_SKEW="-300")
    for _ in range(20):
        due = chaos.rows("SELECT extract(epoch FROM clock_timestamp())::float8 + 1")[0][0]
        defer("stage.late", due, at=datetime.fromtimestamp(due, UTC))
    eventually(lambda: len(chaos.witnessed("late")) >= 20, 20, "all ran")
    eventually(lambda: chaos.count() == 0, 10, "and were settled")
    late = [float(words) for words in chaos.witnessed("late")]
    assert len(late) == 20, "each once"
    assert min(late) >= 0, "none early, by the only clock that counts"
    for worker in (ahead, behind):
        eventually(lambda worker=worker: "clock is off" in worker.text(), 10, "the skew is logged")
