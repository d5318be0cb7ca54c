"""What is said on the way: the rate is of this run, also where an import goes on."""

import io
from types import SimpleNamespace
from typing import Any

import pytest

from config import progress


@pytest.mark.parametrize("before", [0, 900_000])
def test_the_rate_leaves_out_what_an_earlier_run_did(monkeypatch: pytest.MonkeyPatch, before: int) -> None:
    times = iter([0.0, 0.0, 20.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(times))
    out = io.StringIO()
    bar: Any = progress.Bar(out, 1_000_000, "messages")
    for read in (before, before + 50_000):
        bar(read)
    assert f"{before + 50_000:,} messages, 2,500/s" in out.getvalue()
    assert f"{'6:20' if before == 0 else '0:20'} left" in out.getvalue()


class Terminal(io.StringIO):
    """It is one, as wide as it is told to be."""

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return 99


@pytest.mark.parametrize("columns", [200, 80, 60, 46, 20, 1])
def test_the_bar_is_one_line_however_narrow_the_window(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    times = iter([0.0, 0.0, 10.0, 20.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(times))
    monkeypatch.setattr(progress.os, "get_terminal_size", lambda _fd: SimpleNamespace(columns=columns))
    out = Terminal()
    bar: Any = progress.Bar(out, 2_000_000, "messages", "comparing")
    for read in (0, 1_000_000, 2_000_000):
        bar(read)
    bar.close()
    *drawn, last = out.getvalue().removeprefix("\r\033[K").split("\r\033[K")
    assert "\n" not in out.getvalue()
    assert last == ""
    assert all(len(line) < max(columns, 2) for line in drawn)
    if columns >= 60:
        assert "50%  1,000,000 messages, 100,000/s, 0:10 left" in drawn[0]
        assert drawn[0].count("#") == drawn[0].count(".")
        assert drawn[1].endswith("2,000,000 messages, 100,000/s, comparing")


def test_before_there_is_a_rate_none_is_told() -> None:
    bar: Any = progress.Bar(Terminal(), 100, "messages")
    bar._before, bar._began = (10, 10), 5.0
    assert "/s" not in bar._line(10, 10, 5.0)
