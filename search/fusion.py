"""Two ranked lists become one (ADR 0104)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from uuid import UUID

from search.legs import Found

K = 60  # of the reciprocal rank fusion: how little the very first places differ
LESSER = 0.15  # what a match by word counts for beside one by meaning, or by a meaning the embedder cannot read,
POOR = 3  # and the power of the words' share it loses by: with more of either the whole was worse than vectors alone
NAMED = 2.0  # what it counts for with the name or number of something: it leads, however far the vectors think it is

Ranked = tuple[Found, float, dict[str, int | None]]  # the best chunk, the score, the rank in each list


def fused(lists: Mapping[str, Sequence[Found]], *, read: bool = True) -> list[Ranked]:
    """Reciprocal rank fusion over things, each ranked by its best chunk; `read` if the embedder reads the question.

    Meaning leads and words break ties; not so with names and numbers, which no embedder knows, and what it cannot read.
    """
    scores: dict[tuple[str, UUID], float] = defaultdict(float)
    ranks: dict[tuple[str, UUID], dict[str, int | None]] = {}
    best: dict[tuple[str, UUID], tuple[int, Found]] = {}
    for name in ("keyword", "vector"):
        firsts: dict[tuple[str, UUID], Found] = {}
        for found in lists[name]:
            firsts.setdefault(found.entity, found)
        for rank, (entity, found) in enumerate(firsts.items(), start=1):
            scores[entity] += _weight(name, found, read=read) / (K + rank)
            ranks.setdefault(entity, {"vector": None, "keyword": None})[name] = rank
            if entity not in best or rank < best[entity][0]:
                best[entity] = (rank, found)
    order = sorted(scores, key=lambda entity: (-scores[entity], best[entity][0], entity))
    return [(best[entity][1], scores[entity], ranks[entity]) for entity in order]


def _weight(name: str, found: Found, *, read: bool) -> float:
    if name == "vector":
        return 1.0 if read else LESSER
    if found.named:
        return NAMED
    return LESSER * found.share**POOR if read else found.share
