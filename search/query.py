"""The one search function: by meaning and by word, fused by rank, under filters that never starve the result.

    found = search("relocation stress", user_id=7, entity_types=["message"], filters={"role": "user"})
    for hit in found.hits: hit.score, hit.ranks, hit.snippet

Filters, all optional: `agent` (id), `role`, `session_id`, `after` and `before` (date or datetime; before is exclusive),
`deleted` ("without", the default; "with"; "only"), `metadata` ({key: scalar}). Any other name, mode, or value of a wrong
type raises SearchError with `field`. Runs with the rights of the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from search.errors import SearchError
from search.results import Coverage, ExactCheck, Hit, Results, Segment

__all__ = ["DEGRADED", "MODES", "Coverage", "ExactCheck", "Hit", "Results", "SearchError", "Segment"]
__all__ += ["exact_check", "more_like", "search"]

MODES = ("hybrid", "vector", "keyword")
DEGRADED = {
    "embeddings_off": "No embedder is configured: by word only.",
    "embeddings_down": "The embedder did not answer: by word only.",
    "no_space": "Nothing was embedded by the present model yet: by word only.",
    "building": "A new model's vectors are being made; the former ones answer.",
    "other_model": "The former model serves and cannot be asked any more: by word only.",
    "incomplete": "Some entries have no vector yet: they are found by word only.",
    "no_index": "The index of the vectors is being built: they are compared one by one.",
    "timeout": "One of the two searches took too long and was given up.",
}

Filters = Mapping[str, Any]


def search(  # noqa: PLR0913  keyword-only, one per thing a person can choose
    text: str,
    *,
    user_id: int | None = None,
    entity_types: Sequence[str] | None = None,
    filters: Filters | None = None,
    mode: str = "hybrid",
    limit: int = 10,
) -> Results:
    """Find what was meant. `user_id` narrows to that person's rows; None is everybody's."""
    raise NotImplementedError


def more_like(
    entity_type: str, entity_id: UUID, *, user_id: int | None = None, filters: Filters | None = None, limit: int = 10
) -> Results:
    """What lies nearest to an entry by meaning, itself left out."""
    raise NotImplementedError


def exact_check(
    text: str,
    *,
    user_id: int | None = None,
    entity_types: Sequence[str] | None = None,
    filters: Filters | None = None,
    limit: int = 10,
) -> ExactCheck:
    """How much of an exact scan the index of vectors finds for this query; SearchError where there is no vector."""
    raise NotImplementedError
