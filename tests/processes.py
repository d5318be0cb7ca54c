"""Real processes for tests: started in a clean environment, watched, and ended by their own id."""

import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests import patience
from tests.patience import PATIENCE

ROOT = Path(__file__).resolve().parents[1]


class Running:
    """A child process whose output can be waited for, line by line."""

    def __init__(self, *command: str, **variables: str) -> None:
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1", **variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.output: list[str] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        with self.process.stdout:
            for line in self.process.stdout:
                self._lines.put(line)
        self._lines.put(None)

    def wait_for(self, pattern: str, patience: float = PATIENCE) -> re.Match[str]:
        """The first line from here on that matches; fails with everything said when none comes."""
        deadline = time.monotonic() + patience
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                line = None
            if line is None:
                raise AssertionError(f"{pattern!r} was never said. Said was:\n{''.join(self.output)}")
            self.output.append(line)
            if match := re.search(pattern, line):
                return match

    def everything(self) -> str:
        """All it says until it ends."""
        while (line := self._lines.get(timeout=PATIENCE)) is not None:
            self.output.append(line)
        return "".join(self.output)

    def end(self, number: int = signal.SIGINT) -> int:
        """Signal the process alone, and wait for its exit code."""
        self.process.send_signal(number)
        return self.exit_code()

    def exit_code(self) -> int:
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        if self.process.stdin:
            self.process.stdin.close()
        return code

    def family(self) -> list[psutil.Process]:
        """The process and all that came of it, as of now."""
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]


@contextmanager
def running(*command: str, **variables: str) -> Iterator[Running]:
    """Run a command for the length of the block; nothing of it is left behind."""
    child = Running(*command, **variables)
    seen: list[psutil.Process] = []
    try:
        yield child
    finally:
        if child.process.poll() is None:
            seen = child.family()
            for process in seen:
                if process.is_running():
                    process.kill()
        child.exit_code()


@contextmanager
def manage(*arguments: str, **variables: str) -> Iterator[Running]:
    with running(sys.executable, "manage.py", *arguments, **variables) as child:
        yield child


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def eventually(condition: Callable[[], object], what: str) -> None:
    """Ask until it is true: for what promises no time, and is stuck when it takes minutes."""
    patience.eventually(condition, patience.STUCK, what)
