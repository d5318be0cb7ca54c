"""Cutting texts: nothing is lost, nothing is too long, sentences stay whole where they can."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from search.chunks import LONGEST, MOST, chunks

SENTENCES = st.lists(
    st.text(st.sampled_from("abcяйё .!?\n…»\"'é\u0301"), min_size=1, max_size=60), min_size=1, max_size=40
).map(" ".join)


def squeezed(text: str) -> str:
    return "".join(unicodedata.normalize("NFC", text).split())


@settings(max_examples=400, deadline=None)
@given(SENTENCES, st.integers(20, 200))
@example("a" * 5000, 20)
@example("  \n ", 20)
def test_every_word_is_in_exactly_one_chunk_and_no_chunk_is_empty_or_too_long(text: str, longest: int) -> None:
    pieces = chunks(text, longest)
    assert squeezed("".join(pieces)) == squeezed(text)
    assert all(piece.strip() and len(piece) <= longest for piece in pieces)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(st.sampled_from("abc "), min_size=1, max_size=50).map(str.strip).filter(bool), max_size=60))
def test_sentences_that_fit_are_never_cut(sentences: list[str]) -> None:
    text = " ".join(f"{sentence}." for sentence in sentences)
    for piece in chunks(text, 60):
        assert piece.endswith(".")


def test_a_short_text_is_one_chunk_in_one_form_for_what_looks_the_same() -> None:
    assert chunks(" cafe\u0301\x00 ") == ["café"]
    assert chunks("") == chunks("\u2003\n") == []


def test_a_word_of_many_pages_is_cut_anyway_and_a_book_ends_somewhere() -> None:
    assert [len(piece) for piece in chunks("x" * (2 * LONGEST + 5))] == [LONGEST, LONGEST, 5]
    assert len(chunks("word. " * LONGEST * MOST)) == MOST


@pytest.mark.parametrize("text", ["\ud800 lone", "a\x00b"])
def test_what_postgresql_cannot_store_is_left_out(text: str) -> None:
    [piece] = chunks(text)
    piece.encode()
    assert "\x00" not in piece
