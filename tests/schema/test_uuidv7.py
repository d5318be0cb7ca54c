"""Ids come from the database and sort by time, on PostgreSQL 18 and on the servers before it."""

import importlib
import time
import uuid

import pytest
from django.db import connection

OLDER = importlib.import_module("config.migrations.0001_extensions").UUIDV7


def ids(function: str, count: int) -> list[uuid.UUID]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {function}() FROM generate_series(1, %s)", [count])
        return [row[0] for row in cursor.fetchall()]


@pytest.mark.django_db
@pytest.mark.parametrize("function", ["pg_catalog.uuidv7", "public.uuidv7"])
def test_uuidv7_is_unique_sorts_by_time_and_carries_it(function: str) -> None:
    if function.startswith("public"):
        with connection.cursor() as cursor:
            cursor.execute(OLDER)
    before = time.time_ns() // 1_000_000
    made = [ids(function, 1)[0] for _ in range(200)] + ids(function, 2000)
    after = time.time_ns() // 1_000_000
    assert len(set(made)) == len(made)
    assert made[:200] == sorted(made[:200])
    for one in made:
        assert one.version == 7
        assert one.variant == uuid.RFC_4122
        assert before - 1 <= one.int >> 80 <= after + 1
