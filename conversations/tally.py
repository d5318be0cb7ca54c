"""Counts what leaves no row of its own, so that metrics tell the same from every process."""

from __future__ import annotations

from django.db import connection

REFUSED = "refused_"  # before the code of what the API said of a message it did not store
API_FAILED = "api_failed"

ADD = """
INSERT INTO tallies AS tally (name, hour, count) VALUES (%s, date_trunc('hour', clock_timestamp()), 1)
ON CONFLICT (name, hour) DO UPDATE SET count = tally.count + 1
"""


def count(name: str) -> None:
    """Add one, in the caller's transaction."""
    with connection.cursor() as cursor:
        cursor.execute(ADD, [name])
