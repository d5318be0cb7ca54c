"""A search index to test with: an embedder that counts words, and a worker that does what it would do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from django.db import connection, transaction

from search import coverage, embedders, embedding, indexing, spaces, watching
from search.declarations import Searchable, declare, withdraw
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


@contextmanager
def titles() -> Iterator[Searchable]:
    """Conversations can be found by their title for the length of the block: rows that change, unlike messages."""
    one = Searchable(
        entity_type="title",
        model="conversations.Conversation",
        label="titles",
        text=lambda row: row.title,
        user=lambda row: row.user_id,
        metadata=lambda row: {"channel": row.channel},
        deleted=lambda row: row.mode == "closed",
        watch=("title", "mode", "user_id"),
    )
    declare(one)
    try:
        watching.watch()
        yield one
    finally:
        withdraw("title")
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL event_triggers = off")  # a flush between may have had them kept
            for trigger in ("search_added", "search_changed", "search_gone"):
                cursor.execute(f"DROP TRIGGER {trigger} ON conversations")
            cursor.execute("DROP FUNCTION search_watch_conversations, search_forget_conversations")
