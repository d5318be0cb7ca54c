"""Fixtures of the tests that use the test database."""

from collections.abc import Iterator

import pytest

from config.queue import registry, sweeping
from entities import hiding


@pytest.fixture
def registered() -> Iterator[None]:
    """Tasks, periods and finders registered in a test are forgotten after it."""
    kept = [(table, dict(table)) for table in (registry.TASKS, registry.PERIODS, sweeping.FINDERS)]
    yield
    for table, before in kept:
        table.clear()
        table.update(before)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def nothing_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """What reverted changes hide is looked up once a second: a query more or less for those who count them."""
    monkeypatch.setattr(hiding, "_known", (float("inf"), frozenset()))
