"""One world per test process, empty at the start of every test."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.chaos.stage import tasks  # noqa: F401  registers the tasks here, too, so that they can be deferred
from tests.chaos.world import World, world


@pytest.fixture(scope="session")
def _world() -> Iterator[World]:
    with world() as made:
        yield made


@pytest.fixture
def chaos(_world: World, django_db_blocker: Any) -> Iterator[World]:
    """The world, with this process's `defer` and models on its database."""
    with _world.connected(django_db_blocker):
        _world.reset()
        yield _world
        for worker in _world.workers:
            print(worker.text()[-20_000:])  # noqa: T201  shown where the test failed
        _world.stop_workers()
