"""How far it is, how fast, and how long still: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import time
from typing import TextIO

from conversations.legacy.chunks import Chunk
from conversations.legacy.report import Report

WIDTH = 30
EVERY = {True: 0.2, False: 10.0}  # seconds between two signs, on a terminal and elsewhere


class Bar:
    """Fed with every chunk. The rate is that of this run, not of what an earlier one did."""

    def __init__(self, out: TextIO, total: int | None) -> None:
        self.out, self.total = out, total
        self.live = out.isatty()
        self._began = self._told = time.monotonic()
        self._before: tuple[int, int] | None = None

    def __call__(self, chunk: Chunk, report: Report) -> None:
        now = time.monotonic()
        if self._before is None:  # an import that goes on begins with what an earlier run did
            self._before, self._began = (chunk.done, report.read), now
        if now - self._told >= EVERY[self.live]:
            self._told = now
            self._say(self._line(chunk.done, report.read, now))

    def close(self) -> None:
        if self.live:
            self.out.write("\r\033[K")
            self.out.flush()

    def _line(self, done: int, read: int, now: float) -> str:
        first, before = self._before or (0, 0)
        seconds = max(now - self._began, 0.001)
        line = f"{read:,} messages, {(read - before) / seconds:,.0f}/s"
        if not self.total:
            return line
        part = min(1.0, done / self.total)
        here = (done - first) / self.total
        left = f", {_clock(seconds * (1 - part) / here)} left" if here > 0 else ""
        return f"{'#' * int(part * WIDTH):.<{WIDTH}} {part:4.0%}  {line}{left}"

    def _say(self, line: str) -> None:
        self.out.write(f"\r\033[K{line}" if self.live else f"{line}\n")
        self.out.flush()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"
