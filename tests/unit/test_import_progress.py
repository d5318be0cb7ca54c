"""What is said on the way: the rate is of this run, also where an import goes on."""

import io
from types import SimpleNamespace
from typing import Any

import pytest

from conversations.legacy import progress


@pytest.mark.parametrize("before", [0, 900_000])
def test_the_rate_leaves_out_what_an_earlier_run_did(monkeypatch: pytest.MonkeyPatch, before: int) -> None:
    times = iter([0.0, 0.0, 20.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(times))
    out = io.StringIO()
    bar: Any = progress.Bar(out, 1_000_000)
    for read in (before, before + 50_000):
        bar(SimpleNamespace(done=read), SimpleNamespace(read=read))
    assert f"{before + 50_000:,} messages, 2,500/s" in out.getvalue()
    assert f"{'6:20' if before == 0 else '0:20'} left" in out.getvalue()
