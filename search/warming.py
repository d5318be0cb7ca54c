"""The local model is loaded when a web process begins, where there is anything to search by meaning."""

from __future__ import annotations

from search import embedders, spaces


def warm_where_used() -> None:
    """Not a model that is large or far away; and not for nobody: a space without entries is not searched."""
    embedder = spaces.embedder_now()
    if not getattr(embedder, "light", False):
        return
    space = spaces.serving()
    if space is not None and space.embedded and spaces.embedder_of(space) is embedder:
        embedders.load()
