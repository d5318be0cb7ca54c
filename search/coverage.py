"""How much of what can be found is indexed and embedded: counted now and then, told with every result."""

from __future__ import annotations

import time

from django.db import connection

from search.models import Space, Status
from search.results import Coverage

SHARE = 20  # counting may take one part in so many of the time
SELDOM = 60.0  # seconds, whatever the counting costs

COUNT = """
SELECT (SELECT count(*) FROM search_index WHERE space = %(space)s),
    (SELECT count(*) FROM search_unembedded WHERE space = %(space)s AND state = 'waiting'),
    (SELECT count(*) FROM search_unembedded WHERE space = %(space)s AND state = 'failed'),
    (SELECT count(*) FROM search_pending)
"""
STORE = """
UPDATE search_spaces SET entries = %(entries)s, embedded = %(embedded)s, pending = %(pending)s, failed = %(failed)s,
    stale = %(stale)s, counted_at = clock_timestamp(), counting_ms = %(took)s
WHERE id = %(space)s
"""
STALE_COUNT = """
SELECT counted_at IS NULL OR clock_timestamp() - counted_at
    > least(greatest(counting_ms * %s / 1000, 1), %s) * interval '1 second' FROM search_spaces WHERE id = %s
"""


def count(space: Space) -> Coverage:
    """Count now; a million entries take some tenths of a second."""
    with connection.cursor() as cursor:
        cursor.execute(COUNT, {"space": space.pk})
        entries, pending, failed, stale = cursor.fetchone()
    return Coverage(entries, max(entries - pending - failed, 0) if space.dimensions else 0, pending, failed, stale)


def recount(space: Space) -> Coverage:
    """Count and keep the numbers on the space, where every search finds them."""
    started = time.perf_counter()
    counted = count(space)
    values = {name: getattr(counted, name) for name in ("entries", "embedded", "pending", "failed", "stale")}
    values |= {"space": space.pk, "took": 1000 * (time.perf_counter() - started)}
    with connection.cursor() as cursor:
        cursor.execute(STORE, values)
    return counted


def recount_where_due() -> None:
    """Count the living spaces anew, the seldomer the longer it takes."""
    for space in Space.objects.exclude(status=Status.RETIRED):
        with connection.cursor() as cursor:
            cursor.execute(STALE_COUNT, [SHARE, SELDOM, space.pk])
            row = cursor.fetchone()
        if row and row[0]:
            recount(space)


NOT_INDEXED = "SELECT count(*) FROM (SELECT FROM search_pending LIMIT %s) AS waiting"
MANY = 1_000_000  # as many are counted


def not_indexed_yet() -> str:
    """How many changed texts nobody can find yet, in words for a terminal; empty where there are none."""
    with connection.cursor() as cursor:
        cursor.execute(NOT_INDEXED, [MANY])
        number = int(cursor.fetchone()[0])
    return f"{number:,} {'text is' if number == 1 else 'texts are'} not indexed yet." if number else ""


def of(space: Space | None) -> Coverage:
    """As last counted."""
    if space is None:
        return Coverage()
    return Coverage(space.entries, space.embedded, space.pending, space.failed, space.stale)
