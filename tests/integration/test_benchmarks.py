"""Every benchmark runs, with small sizes: what it measures here says nothing, that it can be measured does."""

from __future__ import annotations

import pytest

from benchmarks import __main__ as benchmarks


@pytest.mark.parametrize("name", benchmarks.names())
def test_a_benchmark_runs(name: str) -> None:
    rows = benchmarks.outside(name, quick=True)
    assert rows, "it failed, or measured nothing"
    for row in rows:
        assert row["value"] == row["value"], row
        benchmarks.passed(row)
    benchmarks.table([{**row, "passed": benchmarks.passed(row)} for row in rows])
