"""How far it is, how fast, and how long still: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import os
import time
from typing import TextIO

WIDTH, NARROWEST = 30, 8  # of the bar itself; where less is left for it, the numbers stand alone
COLUMNS = 80  # of a terminal that does not tell
EVERY = {True: 0.2, False: 10.0}  # seconds between two signs, on a terminal and elsewhere


class Bar:
    """Told now and then how far it is. The rate is that of this run, not of what an earlier one did.

    `out` is the stream itself: what Django wraps around it ends every write with a line. `of` is what is counted, and
    `then` what is done when everything has been seen.
    """

    def __init__(self, out: TextIO, total: int | None, of: str, then: str = "") -> None:
        self.out, self.total, self.of, self.then = out, total, of, then
        self.live = out.isatty()
        self._began = self._told = time.monotonic()
        self._before: tuple[int, int] | None = None

    def __call__(self, done: int, number: int | None = None) -> None:
        """So much of the total; `number` where something else is counted for people."""
        now, number = time.monotonic(), done if number is None else number
        if self._before is None:  # what goes on begins with what an earlier run did
            self._before, self._began = (done, number), now
        over = self.live and self.total is not None and done >= self.total
        if over or now - self._told >= EVERY[self.live]:
            self._told = now
            self._say(self._line(done, number, now))

    def close(self) -> None:
        if self.live:
            self.out.write("\r\033[K")
            self.out.flush()

    def _line(self, done: int, number: int, now: float) -> str:
        first, before = self._before or (0, 0)
        seconds = now - self._began
        line = f"{number:,} {self.of}" + (f", {(number - before) / seconds:,.0f}/s" if seconds > 0 else "")
        if not self.total:
            return line
        part = min(1.0, done / self.total)
        here = (done - first) / self.total
        if part == 1 and self.then:
            line += f", {self.then}"
        elif here > 0 and seconds > 0:
            line += f", {_clock(seconds * (1 - part) / here)} left"
        return self._drawn(part, f"{part:4.0%}  {line}")

    def _drawn(self, part: float, line: str) -> str:
        """Never wider than the terminal: a line that goes over its edge cannot be taken back."""
        if not self.live:
            return f"{'#' * int(part * WIDTH):.<{WIDTH}} {line}"
        room = self._columns() - 1
        width = min(WIDTH, room - len(line) - 1)
        line = f"{'#' * int(part * width):.<{width}} {line}" if width >= NARROWEST else line.lstrip()
        return line[:room]

    def _columns(self) -> int:
        """Asked each time: windows are drawn wider and narrower meanwhile."""
        try:
            return os.get_terminal_size(self.out.fileno()).columns or COLUMNS
        except OSError:
            return COLUMNS

    def _say(self, line: str) -> None:
        self.out.write(f"\r\033[K{line}" if self.live else f"{line}\n")
        self.out.flush()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"
