"""Fixtures of the tests that use the test database."""

from collections.abc import Iterator

import pytest

from config.queue import registry, sweeping


@pytest.fixture
def registered() -> Iterator[None]:
    """Tasks, periods and finders registered in a test are forgotten after it."""
    kept = [(table, dict(table)) for table in (registry.TASKS, registry.PERIODS, sweeping.FINDERS)]
    yield
    for table, before in kept:
        table.clear()
        table.update(before)  # type: ignore[arg-type]
