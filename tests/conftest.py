"""Fixtures shared by every test."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from django.db.backends.postgresql.operations import DatabaseOperations


@pytest.fixture(autouse=True, scope="session")
def cleanup_may_erase() -> Iterator[None]:
    """Emptying the tables between tests says so, as the erase command does: append-only tables refuse it otherwise."""
    truncate = DatabaseOperations.execute_sql_flush

    def erasing(self: DatabaseOperations, sql_list: Sequence[str]) -> Any:
        return truncate(self, ["SET LOCAL parley.erasing = 'on'", *sql_list])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DatabaseOperations, "execute_sql_flush", erasing)
        yield
