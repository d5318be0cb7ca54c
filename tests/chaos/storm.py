"""A storm over whole conversations: writers, workers and a model, while processes and the database are killed.

`python -m tests.chaos --seed 7` runs the full one. Each run heals, drains, and only then judges.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

import psutil

from config.queue import processes
from tests.chaos.checking import Verdict, check
from tests.chaos.history import History
from tests.chaos.model import model
from tests.chaos.talk_settings import INTERVIEW_TURN_LEASE
from tests.chaos.world import ROOT, World, kill
from tests.chaos.writing import Plan
from tests.patience import eventually

PAUSE = 2.25 * INTERVIEW_TURN_LEASE  # seconds a process is stopped: somebody else has its turn meanwhile
WRITER_PROCESSES = 2
UNFINISHED = """
SELECT (SELECT count(*) FROM message_buffers)
    + (SELECT count(*) FROM turns WHERE status IN ('waiting', 'running'))
"""
IN_A_TURN = """
SELECT count(*) FROM queue_tasks JOIN turns ON conversation_id::text = args::jsonb ->> 0
WHERE name = 'turns.run' AND state = 'leased' AND pid = %s AND turns.status = 'running' AND turns.lease_until > now()
"""
BUSY = "SELECT pid FROM queue_tasks WHERE name = 'turns.run' AND state = 'leased' AND pid IS NOT NULL"


@dataclass(frozen=True)
class Weather:
    """How much of everything."""

    messages: int = 10_000
    writers: int = 50
    conversations: int = 100
    kills: int = 20
    pauses: int = 3
    restarts: int = 2
    pace: float = 0.2
    workers: int = 2
    processes: int = 2  # of each worker


SHOWER = Weather(messages=600, writers=10, conversations=20, kills=4, pauses=1, restarts=1, pace=0.1)


@dataclass
class Report:
    """What a storm did, and what was found after it."""

    seed: int
    verdict: Verdict
    written_in: float
    drained_in: float
    struck: dict[str, int] = field(default_factory=dict)
    interrupted: int = 0
    turns: dict[str, int] = field(default_factory=dict)

    def lines(self) -> list[str]:
        found = self.verdict
        return [
            f"seed {self.seed}: {found.acknowledged} messages acknowledged in {self.written_in:.1f} s,"
            f" drained in {self.drained_in:.1f} s; {self.struck}",
            f"lost {len(found.lost)}, duplicated {len(found.duplicated)}, unexpected {len(found.unexpected)},"
            f" disordered {len(found.disordered)}, faults in the books {len(found.faults)};"
            f" recovered {found.recovered}",
            f"model: {found.model_calls} answers, {found.model_repeats} given again, {self.interrupted} cut short;"
            f" turns: {self.turns}",
            *[f"  {fault}" for fault in (*found.faults, *found.disordered, *found.lost, *found.duplicated)[:20]],
        ]


class Storm:
    """One run. Faults strike when so many messages are acknowledged, so a slow machine gets the same storm."""

    def __init__(self, world: World, weather: Weather, seed: int) -> None:
        self.world, self.weather, self.seed = world, weather, seed
        self.dice = random.Random(seed)  # noqa: S311  dice
        self.history = History(world.folder / f"history-{seed}.jsonl")
        self.struck = {"kill": 0, "pause": 0, "restart": 0}
        self.interrupted = 0  # turns that faults may have cut short: each may cost one call of the model
        self.stopped: list[tuple[float, psutil.Process]] = []
        self._tail = self.history.path.open()
        self._acknowledged = 0

    def run(self) -> Report:
        with ExitStack() as stack:
            stack.callback(self.history.close)
            stack.callback(self._tail.close)
            served = stack.enter_context(model(self.history, self.seed))
            stack.callback(self.world.stop_workers)
            for _ in range(self.weather.workers):
                self.world.worker(self.weather.processes, PARLEY_MODEL=str(served.port), LOG_LEVEL="WARNING")
            begun = time.monotonic()
            for writer in self._writers():
                stack.callback(writer.wait)
                stack.callback(writer.kill)
            self._strike()
            written = time.monotonic()
            self._heal()
            eventually(lambda: self.world.rows(UNFINISHED) == [(0,)], 180, "everything is answered")
            drained = time.monotonic()
            verdict = check(self.history, self.world.rows)
            turns = dict(self.world.rows("SELECT status, count(*) FROM turns GROUP BY 1"))
        return Report(self.seed, verdict, written - begun, drained - written, self.struck, self.interrupted, turns)

    def _writers(self) -> list[subprocess.Popen[str]]:
        weather = self.weather
        self.world.execute(
            "INSERT INTO conversations (user_id, channel) SELECT n, 'api' FROM generate_series(1, %s) AS n",
            weather.conversations,
        )
        chats = [chat for (chat,) in self.world.rows("SELECT id::text FROM conversations ORDER BY user_id")]
        self.writers: list[subprocess.Popen[str]] = []
        for part in range(WRITER_PROCESSES):
            names = list(range(part, weather.writers, WRITER_PROCESSES))
            each = weather.messages // weather.writers
            plan = Plan(names, each, chats, weather.pace, self.seed, str(self.history.path))
            with (self.world.folder / f"writers-{part}.log").open("wb") as log:
                writer = subprocess.Popen(
                    [sys.executable, "-m", "tests.chaos.writing"],
                    env={**self.world.environment, "LOG_LEVEL": "ERROR"},
                    cwd=ROOT, stdin=subprocess.PIPE, stdout=log, stderr=log, text=True,
                )  # fmt: skip
            assert writer.stdin
            writer.stdin.write(plan.dumps())
            writer.stdin.close()
            self.writers.append(writer)
        return self.writers

    def _strike(self) -> None:
        """Each fault at its share of the messages, in the order the dice give, until the writers are done."""
        weather = self.weather
        faults = ["kill"] * weather.kills + ["pause"] * weather.pauses + ["restart"] * weather.restarts
        self.dice.shuffle(faults)
        acts: dict[str, Callable[[], None]] = {"kill": self._kill, "pause": self._pause, "restart": self._restart}
        for number, fault in enumerate(faults, 1):
            due = weather.messages * number // (len(faults) + 1)
            eventually(lambda due=due: self._look() >= due, 300, f"{due} messages are acknowledged")
            acts[fault]()
        eventually(self._written, 300, "the writers are done")
        for writer in self.writers:
            assert writer.returncode == 0, [log.read_text() for log in self.world.folder.glob("writers-*.log")]

    def _look(self) -> int:
        """How many messages are acknowledged; those whose pause is over go on."""
        self._acknowledged += sum('"ok"' in line and '"writer"' in line for line in self._tail.readlines())
        for until, process in list(self.stopped):
            if time.monotonic() >= until:
                self.stopped.remove((until, process))
                _signal(process, "resume")
        return self._acknowledged

    def _written(self) -> bool:
        self._look()
        return all(writer.poll() is not None for writer in self.writers)

    def _heal(self) -> None:
        eventually(lambda: self._look() and not self.stopped, 60, "pauses are over")

    # --- faults ---
    def _kill(self) -> None:
        """Mostly a process in the middle of a turn; now and then a whole group, or the sentinel of one."""
        kind = self.dice.choices(["worker", "group", "sentinel"], [0.7, 0.15, 0.15])[0]
        worker = self.dice.choice(self.world.workers)
        if kind == "group" and worker.clusters:
            processes.kill_group(self.dice.choice(worker.clusters).pid)
            self.interrupted += self.weather.processes - 1
        elif kind == "sentinel" and worker.sentinels:
            kill(self.dice.choice(worker.sentinels))  # and all below it die with it
            self.interrupted += self.weather.processes - 1
        else:
            kill(self._caught())
        self.struck["kill"] += 1
        self.interrupted += 1

    def _pause(self) -> None:
        self.stopped.append((time.monotonic() + PAUSE, self._caught()))
        self.struck["pause"] += 1
        self.interrupted += 1

    def _caught(self) -> psutil.Process:
        """A process stopped in the middle of a turn: stop it, look, and let it go where it was not."""
        caught: list[psutil.Process] = []

        def catch() -> bool:
            self._look()
            pids = [pid for (pid,) in self.world.rows(BUSY)]
            ours = {process.pid: process for worker in self.world.workers for process in worker.family}
            for process in [ours[pid] for pid in pids if pid in ours]:
                if process.pid in {stopped.pid for _, stopped in self.stopped}:
                    continue
                _signal(process, "suspend")
                if self.world.rows(IN_A_TURN, process.pid)[0][0]:
                    caught.append(process)
                    return True
                _signal(process, "resume")
            return False

        eventually(catch, 60, "a process is in the middle of a turn")
        return caught[0]

    def _restart(self) -> None:
        self.world.restart_database()
        self.struck["restart"] += 1


def _signal(process: psutil.Process, verb: str) -> None:
    with suppress(psutil.NoSuchProcess):  # its group was killed meanwhile
        getattr(process, verb)()
