"""An embedder that cannot work is told when the process starts."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core import checks

from search.embedders import MOST_DIMENSIONS, OFF, PROVIDERS
from search.embedders.states import state


@checks.register()
def embedder_works(**_options: Any) -> list[checks.CheckMessage]:
    """Not an error: without vectors search goes on by words, and says so."""
    if settings.EMBEDDINGS_PROVIDER == OFF:
        return []
    chosen = state(settings.EMBEDDINGS_PROVIDER)
    if not chosen.ready:
        hint = f"EMBEDDINGS_PROVIDER is {chosen.name}; it may be {', '.join(PROVIDERS)}, off or the path of a class."
        return [checks.Warning(f"Search by meaning does not work. {chosen.trouble}.", hint=hint, id="parley.W010")]
    if not 0 < chosen.dimensions <= MOST_DIMENSIONS:
        hint = "Choose a model with fewer, or let EMBEDDINGS_DIMENSIONS shorten the vectors of one that can."
        return [
            checks.Error(
                f"Vectors may have 1 to {MOST_DIMENSIONS} dimensions, not {chosen.dimensions}.",
                hint=hint,
                id="parley.E010",
            )
        ]
    return []
