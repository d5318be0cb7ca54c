"""Who leads where meaning and words disagree: what is meant, but for names, numbers, foreign languages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import pytest

from conversations import log, sessions
from search import embedders
from search.query import search
from tests.embedding import BagOfWords
from tests.searching import embedder, find, settle, texts

pytestmark = pytest.mark.django_db(transaction=True)

LATE = "where has the parcel gone"


def said(*lines: str) -> None:
    chat = sessions.open(1)[0].pk
    log.append_many(chat, [{"role": "user", "content": line} for line in lines])
    settle()


@contextmanager
def takes_it_for(meaning: str, *questions: str, **behaviour: Any) -> Iterator[BagOfWords]:
    """An embedder that takes the questions for something else."""
    with embedder(**behaviour) as bag:
        plain = bag.vector
        with patch.object(bag, "vector", lambda text: plain(meaning if text in questions else text)):
            yield bag


def test_a_number_leads_however_little_it_means_to_the_model() -> None:
    with takes_it_for(LATE, "4711-AB", "order 4711-AB"):
        said(*(f"{LATE} {number}" for number in range(40)), "please send order 4711-AB to my aunt", "the order of 1984")
        assert find("4711-AB")[0] == "please send order 4711-AB to my aunt"
        assert find("order 4711-AB")[0] == "please send order 4711-AB to my aunt"
        assert find("4711-AB", limit=1) == ["please send order 4711-AB to my aunt"]


def test_a_number_leads_in_each_entry_that_has_it_while_they_fill_no_more_than_a_page() -> None:
    with takes_it_for(LATE, "4711-AB"):
        said(*(f"{LATE} {number}" for number in range(40)), *(f"4711-AB again, {word}" for word in "abcdefgh"))
        assert all("4711-AB" in text for text in find("4711-AB")[:8])


def test_common_words_do_not_outdo_what_is_meant() -> None:
    with takes_it_for(LATE, "my card"):
        said(*(f"{LATE} {number}" for number in range(40)), *(f"my card {word}" for word in "defghijklmnop"))
        found = search("my card")
        assert all(text.startswith(LATE) for text in texts(found))
        assert found.degraded == ()
        assert any(hit.ranks["keyword"] for hit in search("my card", limit=60).hits), "further down they are"


def test_words_lead_where_the_model_does_not_read_the_language_and_that_is_told() -> None:
    with takes_it_for(LATE, "моя карта") as bag:
        said(*(f"{LATE} {number}" for number in range(40)), *(f"моя карта {word}" for word in "defghijklmnop"))
        assert all(text.startswith(LATE) for text in find("моя карта"))
        bag.alphabets = ("LATIN",)
        found = search("моя карта")
        assert [text[:-2] for text in texts(found)] == ["моя карта"] * 10
        assert found.degraded == ("unread",)
        assert search("моя карта", mode="keyword").degraded == ()


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("where is my card", True),
        ("où est ma carte", True),
        ("где моя карта", False),
        ("карта Visa", False),
        ("payment for Саша", True),
        ("4711 / 12", True),
        ("私のカード", False),
        ("\ue000\ue000", True),
    ],
)
def test_what_a_model_reads_is_told_by_its_alphabets(text: str, read: bool) -> None:
    assert embedders.reads(BagOfWords(alphabets=("LATIN",)), text) is read
    assert embedders.reads(BagOfWords(), text)
