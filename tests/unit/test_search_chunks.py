"""Cutting texts: nothing is lost, nothing is too long, sentences stay whole where they can."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from config.text import stream_safe
from search import words
from search.chunks import INDEXED, LONGEST, chunks, normalised
from tests.patience import granted

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
    assert "".join("".join(pieces).split()) == squeezed(text)
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
    assert sum(len(piece.split()) for piece in chunks("word. " * INDEXED)) == INDEXED // len("word. ") + 1


@pytest.mark.parametrize("text", ["\ud800 lone", "a\x00b"])
def test_what_postgresql_cannot_store_is_left_out(text: str) -> None:
    [piece] = chunks(text)
    piece.encode()
    assert "\x00" not in piece


MARKS = st.text(st.sampled_from("ab \u0315\u0300\u0f75\u0344\u01ed\u1d160"), max_size=300)


@settings(max_examples=200, deadline=None)
@given(MARKS, MARKS)
def test_words_stay_findable_beside_any_run_of_marks(before: str, behind: str) -> None:
    """What is indexed and what is asked for have one form, and applying it again changes nothing."""
    assert normalised(normalised(before)) == normalised(before)
    pieces = chunks(f"{before} needle {behind}", 60)
    assert any("needle" in piece.split() for piece in pieces)
    assert words.normalised(before).strip() == normalised(before)


def test_every_mark_counts_as_one() -> None:
    """Also those that are made of marks alone: they begin with one when they are decomposed."""
    for number in (*range(0xD800), *range(0xE000, 0x110000)):
        letter = chr(number)
        if unicodedata.combining(unicodedata.normalize("NFD", letter)[0]):
            assert len(stream_safe(letter * 31)) == 32, hex(number)


@pytest.mark.parametrize("letters", ["\u0315\u0300", "\u0f75", "\u0344", "x", " ", "\n", ".", "\u200d", "\U0001f1e6"])
def test_the_time_for_a_text_grows_with_its_length_alone(letters: str) -> None:
    """A quadratic pass over as much takes minutes; 50 seconds for 320 kB of the first were measured."""
    started = time.process_time()
    text = "a" + letters * (10_000_000 // len(letters))
    assert sum(len(piece) for piece in chunks(text)) <= 3 * INDEXED
    assert time.process_time() - started < granted(2)
