"""Keeps the services of the Procfile running under `make run`: started, printed, started again when they end.

honcho ends everything when one process ends. Here the others go on, and the one that ended is started again.
"""

from __future__ import annotations

import queue
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Process
from pathlib import Path
from typing import Any

from honcho.environ import parse_procfile
from honcho.manager import SIGNALS, Manager

QUICK = 30.0  # seconds: a service that ran for less ended quickly
QUICK_ENDS = 4  # in a row, after which a service is given up
LONGEST_PAUSE = 30.0  # seconds before another start; the first is 1, each one after it twice as long
KILLED_AFTER = 7.0  # seconds a service may take to stop
MISCONFIGURED = 1  # a bot's exit code for what a person must change first (`manage.py bot --help`)
OPTIONAL = frozenset({"bot"})  # the run goes on without it


@dataclass
class Service:
    """What is known of one line of the Procfile; `starts_at` while it waits for its next start."""

    started: float = 0.0
    quick_ends: int = 0
    starts_at: float | None = None


class Keeper(Manager):  # type: ignore[misc]
    """honcho's processes and printer, with a loop that starts again what ended."""

    def __init__(self, commands: dict[str, str]) -> None:
        super().__init__()
        self.services = {name: Service() for name in commands}
        self._signal: int | None = None
        self._stops_since: float | None = None
        for name, command in commands.items():
            self.add_process(name, command)

    def loop(self) -> None:
        """Until a signal comes, or a service that the run cannot do without is given up."""
        for number in SIGNALS:
            signal.signal(number, self._note)
        for name in self.services:
            self._begin(name)
        while not (self._terminating and self._all_stopped()):
            with suppress(queue.Empty):
                self._handle(self.events.get(timeout=0.1))
            self._heed_signal()
            self._start_due()
            if self._stops_since is not None and time.monotonic() - self._stops_since > KILLED_AFTER:
                self._stops_since = None
                self.kill()
        with suppress(queue.Empty):
            while True:
                self._handle(self.events.get(timeout=0.1))

    def _note(self, number: int, _frame: object) -> None:
        """Nothing else: a signal may come in the middle of a print."""
        self._signal = self._signal or number

    def _heed_signal(self) -> None:
        if self._signal is not None and not self._terminating:
            self._system_print(f"{SIGNALS[self._signal]['name']} received\n")
            self._end(SIGNALS[self._signal]["rc"])

    def _end(self, code: int) -> None:
        self.returncode, self._stops_since = code, time.monotonic()
        self.terminate()

    def _begin(self, name: str) -> None:
        known = self._processes[name]
        known.pop("returncode", None)
        known["pid"] = None
        self.services[name].started, self.services[name].starts_at = time.monotonic(), None
        known["process"] = Process(name=name, target=known["obj"].run, args=(self.events, True))
        known["process"].start()

    def _start_due(self) -> None:
        for name, service in self.services.items():
            if not self._terminating and service.starts_at is not None and service.starts_at <= time.monotonic():
                self._begin(name)

    def _handle(self, message: Any) -> None:
        if message.type == "line":
            self._printer.write(message)
        elif message.type == "start":
            self._processes[message.name]["pid"] = message.data["pid"]
            self._system_print(f"{message.name} started (pid={message.data['pid']})\n")
            if self._terminating:  # it was being started when we were asked to stop
                self._procmgr.terminate(message.data["pid"])
        elif message.type == "stop":
            code = self._processes[message.name]["returncode"] = message.data["returncode"]
            self._system_print(f"{message.name} {ending(code)}\n")
            if not self._terminating:
                self._ended(message.name, code)

    def _ended(self, name: str, code: int) -> None:
        """Start it again after a pause, or give it up where that helps nobody."""
        service = self.services[name]
        quick = time.monotonic() - service.started < QUICK
        service.quick_ends = service.quick_ends + 1 if quick else 0
        if name in OPTIONAL and code == MISCONFIGURED:
            self._give_up(name, "something must be changed first, as it says above")
        elif service.quick_ends >= QUICK_ENDS:
            self._give_up(name, f"it ended {QUICK_ENDS} times within {QUICK:.0f} s of its start")
        else:
            pause = min(LONGEST_PAUSE, 2.0 ** max(0, service.quick_ends - 1))
            self._system_print(f"{name} is started again in {pause:.0f} s\n")
            service.starts_at = time.monotonic() + pause

    def _give_up(self, name: str, reason: str) -> None:
        if name in OPTIONAL:
            self._system_print(f"{name} is not started again: {reason}. Everything else runs on.\n")
            return
        self._system_print(f"{name} is not started again: {reason}. Without it nothing is answered: all stops.\n")
        self._end(1)

    def _all_stopped(self) -> bool:
        return not any(known["process"].is_alive() for known in self._processes.values())

    def _killall(self, force: bool = False) -> None:
        """Only what runs: a service may be between two lives, or so fresh that its id is not known yet."""
        for name, known in self._processes.items():
            if known["pid"] is not None and "returncode" not in known:
                self._system_print(f"sending {'SIGKILL' if force else 'SIGTERM'} to {name} (pid {known['pid']})\n")
                (self._procmgr.kill if force else self._procmgr.terminate)(known["pid"])


def ending(code: int) -> str:
    """How a process ended, in words."""
    if code >= 0:
        return f"ended (exit code {code})"
    return f"was killed (signal {-code})"


def main(names: list[str]) -> int:
    commands = parse_procfile(Path("Procfile").read_text()).processes
    keeper = Keeper({name: commands[name] for name in names})
    keeper.loop()
    return int(keeper.returncode or 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
