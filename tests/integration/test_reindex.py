"""`manage.py reindex`: makes the index anew, proves it, mends it, and goes on where it was interrupted."""

from __future__ import annotations

import io
import sys
from itertools import islice
from typing import Any
from unittest.mock import patch

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from conversations import log, sessions
from search import indexing, reindexing, spaces, vector_index
from search.embedders import EmbedderError
from search.models import Entry, Space, Unembedded, Walk
from tests.integration.test_crashes import output_of
from tests.searching import embedder, find, settle

pytestmark = pytest.mark.django_db(transaction=True)


def said(*lines: str) -> None:
    chat = sessions.open(1)[0].pk
    for line in lines:
        log.append(chat, "user", line)


def reindex(*arguments: str, **options: Any) -> str:
    out = io.StringIO()
    call_command("reindex", *arguments, stdout=out, stderr=out, **options)
    return out.getvalue()


def damage() -> None:
    """One of everything that can be wrong."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM search_index WHERE content = 'tea 0'")  # missing
        cursor.execute("UPDATE search_index SET content = 'lies' WHERE content = 'tea 1'")  # stale
        cursor.execute("UPDATE search_index SET user_id = 99 WHERE content = 'tea 2'")  # stale, and somebody else's
        cursor.execute(
            "INSERT INTO search_index (entity_type, entity_id, content) VALUES ('message', uuidv7(), 'tea of nobody')"
        )  # an orphan, and without anybody who makes its vector
        cursor.execute("UPDATE search_index SET embedding = NULL WHERE content = 'tea 3'")  # dead


def test_verify_tells_what_is_wrong_and_mends_it() -> None:
    with embedder():
        said(*(f"tea {number}" for number in range(6)))
        settle()
        assert "The index says what its sources say." in reindex("--verify")
        damage()
        with pytest.raises(SystemExit):
            reindex("--verify", "--dry-run")
        assert find("lies", mode="keyword") == ["lies"], "a dry run changes nothing"
        said_by = reindex("--verify")
        for line in (
            "missing              1",
            "stale                2",
            "orphans              1",
            "dead                 1",
        ):
            assert line in said_by
        assert "The index says what its sources say." in reindex("--verify")
        assert Entry.objects.filter(embedding__isnull=False).count() == 6
        assert Entry.objects.filter(user_id=99).count() == 0
        assert vector_index.valid(Space.objects.get())


def test_an_index_that_was_lost_is_made_anew() -> None:
    with embedder():
        said(*(f"tea {number}" for number in range(6)))
        settle()
        Entry.objects.all().delete()
        assert find("tea") == []
        assert "6 rows looked at, 6 entries written" in reindex()
        assert len(find("tea")) == 6
        assert not Unembedded.objects.exists()


def test_a_run_that_was_interrupted_goes_on_where_it_was() -> None:
    said(*(f"tea {number}" for number in range(6)))
    settle()
    Entry.objects.all().delete()
    with patch.object(reindexing, "PAGE", 2):
        pages = reindexing.reindex

        def killed(entity_type: str, *, after: Any = None) -> Any:
            yield from islice(pages(entity_type, after=after), 2)
            raise KeyboardInterrupt

        with patch.object(reindexing, "reindex", killed), pytest.raises(KeyboardInterrupt):
            reindex("--type", "message")
        assert (Entry.objects.count(), Walk.objects.get().checked) == (4, 4)
        looked_at = []
        bring = indexing.bring_up_to_date
        with patch.object(indexing, "bring_up_to_date", lambda kind, ids: looked_at.extend(ids) or bring(kind, ids)):
            assert "going on after 4 rows" in reindex("--type", "message")
    assert len(looked_at) == 2
    assert Entry.objects.count() == 6
    assert not Walk.objects.exists()


def test_a_killed_process_leaves_a_run_that_can_be_resumed() -> None:
    said(*(f"tea {number}" for number in range(4)))
    settle()
    Entry.objects.all().delete()
    command = (sys.executable, "manage.py", "reindex", "--words-only")
    output_of(*command, exit_code=137, CRASH_AT="search_page", EMBEDDINGS_PROVIDER="off")
    assert Walk.objects.get().checked == 0, "committed, and not yet noted"
    assert "4 rows looked at, 0 entries" in output_of(*command, EMBEDDINGS_PROVIDER="off")
    assert (Entry.objects.count(), Walk.objects.count()) == (4, 0)


def test_it_says_what_it_cannot_do() -> None:
    said("tea")
    with pytest.raises(CommandError, match="Nothing is declared as password"):
        reindex("--type", "password")
    with pytest.raises(CommandError, match="no living space 999"):
        reindex("--space", "999")
    with embedder() as bag:
        bag.trouble = EmbedderError("dead")
        with pytest.raises(CommandError, match="dead"):
            reindex()
        bag.trouble = None
        Space.objects.update(paused_until=None)
        space = spaces.serving()
        assert space
        assert "1 of 1 embedded" in reindex("--space", str(space.pk))


def test_one_type_alone_can_be_made_anew() -> None:
    said("tea")
    settle()
    assert "1 rows looked at, 0 entries written" in reindex("--type", "message", "--words-only")
