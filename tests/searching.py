"""A search index to test with: an embedder that counts words, and a worker that does what it would do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from search import coverage, embedders, embedding, indexing, spaces
from search.models import Space
from search.query import Results, search
from tests.embedding import BagOfWords


@contextmanager
def embedder(**behaviour: Any) -> Iterator[BagOfWords]:
    """For the length of the block the settings name this embedder, and nobody can ask for any other model."""
    one = BagOfWords(**behaviour)
    with several(one):
        yield one


@contextmanager
def several(now: BagOfWords, *former: BagOfWords) -> Iterator[None]:
    """The current embedder, and others whose spaces can still be searched."""
    known = {(one.model, one.dimensions): one for one in (now, *former)}
    with (
        patch.object(embedders, "current", lambda: now),
        patch.object(embedders, "of", lambda model, dimensions: known.get((model, dimensions))),
    ):
        yield


def settle() -> None:
    """Everything a worker would do until nothing is left to do; where indexes can be built, they are."""
    spaces.ensure_current()
    while indexing.index_batch().taken:
        pass
    while embedding.work():
        pass
    for space in Space.objects.exclude(status="retired"):
        coverage.recount(space)


def texts(found: Results) -> list[str]:
    return [hit.content for hit in found.hits]


def find(text: str, **options: Any) -> list[str]:
    return texts(search(text, **options))
