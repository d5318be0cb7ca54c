"""Fixtures of the tests that use the test database."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User

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


@pytest.fixture
def anna(db: None) -> User:
    """A superuser who logs in by `tests.second_factors.by_password`."""
    return User.objects.create_superuser("anna", "anna@example.org", "right horse")


@pytest.fixture
def required_factor(settings: Any) -> None:
    settings.STAFF_SECOND_FACTOR = "required"
