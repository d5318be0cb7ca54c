"""How many entries have a word: common ones by PostgreSQL's own statistics, rare ones counted."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from django.db import connection

from search.models import Space

KEPT = 300.0  # seconds the statistics are kept; ANALYZE makes new ones more seldom

# The most common lexemes of the column with their share of all entries, as ANALYZE sampled them.
COMMON = """
SELECT most_common_elems::text::text[], most_common_elem_freqs FROM pg_stats
WHERE schemaname = current_schema() AND tablename = 'search_index' AND attname = 'tsv'
"""
COUNT = """
SELECT (SELECT count(*) FROM (
    SELECT FROM search_index WHERE space = {space} AND tsv @@ term::tsquery LIMIT %(most)s) AS seen)
FROM unnest(%(terms)s::text[]) WITH ORDINALITY AS t (term, n) ORDER BY n
"""
LEXEME = re.compile(r"'((?:[^']|'')*)'")

_common: dict[str, tuple[float, dict[str, float]]] = {}  # database -> (when read, share by lexeme)


def counts(space: Space, terms: Sequence[str], most: int) -> dict[str, int]:
    """Entries of the space by word, in the order of the question; words nobody wrote are left out.

    A word is only counted where it is not known to be common: bringing together fifty thousand entries takes time.
    """
    shares = _shares()
    found = {term: max((shares.get(lexeme, 0.0) for lexeme in LEXEME.findall(term)), default=0.0) for term in terms}
    known = {term: int(share * space.entries) for term, share in found.items() if share * space.entries >= most}
    unknown = [term for term in terms if term not in known]
    if unknown:
        with connection.cursor() as cursor:
            cursor.execute(COUNT.format(space=int(space.pk)), {"terms": unknown, "most": most})
            known |= {term: count for term, (count,) in zip(unknown, cursor.fetchall(), strict=True)}
    return {term: known[term] for term in terms if known[term]}


def _shares() -> dict[str, float]:
    """Empty before the first ANALYZE, and for who may not see statistics: then every word is counted."""
    database = str(connection.settings_dict["NAME"])
    read, shares = _common.get(database, (0.0, {}))
    if read and time.monotonic() - read < KEPT:
        return shares
    with connection.cursor() as cursor:
        cursor.execute(COMMON)
        lexemes, frequencies = cursor.fetchone() or ((), ())
    shares = dict(zip(lexemes or (), frequencies or (), strict=False))  # three more frequencies: bounds, and of NULL
    if shares:
        _common[database] = (time.monotonic(), shares)
    return shares
