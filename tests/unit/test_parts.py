"""Cutting: parts fit, lose nothing but white space between them, and end where a reader pauses."""

from __future__ import annotations

import time

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from conversations.parts import cut, units
from tests.patience import granted

FAMILY = "👩‍👩‍👧‍👦"
PIECES = st.sampled_from(
    [
        "a",
        "слово",
        " ",
        "\n",
        "\n\n",
        ". ",
        "! ",
        "。",
        "é",
        "e\u0301",
        FAMILY,
        "🇩🇪",
        "👍🏽",
        "\u200f",
        "한국",
        "x" * 30,
        "\r\n",
        " \u0301",
        "。\u0301",
        "\u00a0",
    ]
)
TEXTS = st.lists(PIECES, max_size=80).map("".join) | st.text(max_size=200)


@settings(max_examples=500)
@given(TEXTS, st.integers(min_value=12, max_value=60))
def test_parts_fit_and_together_are_the_text(text: str, limit: int) -> None:
    places = cut(text, limit)
    assert places[0][0] >= 0
    assert all(units(text[begin:end]) <= limit for begin, end in places)
    ends = [0, *(end for _begin, end in places)]
    starts = [*(begin for begin, _end in places), len(text)]
    for end, begin in zip(ends, starts, strict=True):
        assert end <= begin
        assert not text[end:begin].strip(), "only white space stays out"
    if text.strip():
        assert all(text[begin:end].strip() for begin, end in places)


@settings(max_examples=500)
@given(TEXTS, st.integers(min_value=26, max_value=60))
def test_no_cut_goes_through_what_a_reader_sees_as_one(text: str, limit: int) -> None:
    starts = {match.start() for match in regex.finditer(r"\X", text)}
    longest = max((units(match[0]) for match in regex.finditer(r"\X", text)), default=0)
    for begin, _end in cut(text, limit)[1:]:
        assert begin in starts or longest > limit // 2


@pytest.mark.parametrize(("length", "parts"), [(4095, 1), (4096, 1), (4097, 2), (8192, 2), (8193, 3)])
def test_the_limit_itself_fits(length: int, parts: int) -> None:
    assert len(cut("x" * length, 4096)) == parts


def test_an_emoji_counts_as_two() -> None:
    assert cut("😀" * 2048, 4096) == [(0, 2048)]
    assert cut("😀" * 2049, 4096) == [(0, 2048), (2048, 2049)]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("One. Two.\n\nThree and so on", "One. Two."),
        ("One, two\nthree and so on", "One, two"),
        ("One two three! Four and so on", "One two three!"),
        ("One two three four five", "One two three"),
        ("Он сказал: «Да!» И ушёл", "Он сказал: «Да!»"),
        ("一二三四五六七八九十。一二三四五六七八", "一二三四五六七八九十。"),
        ("abcdefghijklmnopqrstuvwxyz", "abcdefghijklmnop"),
    ],
)
def test_a_part_ends_at_the_best_border_there_is(text: str, first: str) -> None:
    begin, end = cut(text, 16)[0]
    assert text[begin:end] == first


def test_a_border_far_behind_is_no_reason_for_a_short_part() -> None:
    text = "Hi.\n\n" + "word " * 20
    begin, end = cut(text, 60)[0]
    assert end - begin > 30


@pytest.mark.parametrize("whole", [" \u0301", "。\u0301", ".\u0301", "\r\n"])
def test_a_mark_on_a_space_or_a_full_stop_belongs_to_it(whole: str) -> None:
    text = "abcdefghijkl" + whole + "mnopqrstuvwxyz"
    for begin, end in cut(text, 14):
        assert text[begin:end] in {
            "abcdefghijkl",
            "abcdefghijkl" + whole,
            whole + "mnopqrstuvwx",
            "mnopqrstuvwxyz",
            "yz",
        }


def test_a_letter_longer_than_a_part_is_cut_all_the_same() -> None:
    zalgo = "a" + "\u0301" * 100
    places = cut(zalgo, 40)
    assert "".join(zalgo[begin:end] for begin, end in places) == zalgo


def test_a_family_is_never_separated() -> None:
    text = FAMILY * 1000
    for begin, end in cut(text, 4096):
        assert text[begin:end].replace(FAMILY, "") == ""


def test_a_text_of_nothing_is_one_part() -> None:
    assert cut("", 10) == [(0, 0)]
    assert cut(" " * 50, 10) == [(0, 50)]


def test_a_long_run_of_flags_is_cut_in_a_time_that_grows_with_its_length() -> None:
    """Ten times as many took 110 seconds when each part looked at all that followed."""
    started = time.process_time()
    parts = cut("\U0001f1e6" * 20_000, 4096)
    assert [end - begin for begin, end in parts] == [2048] * 9 + [20_000 - 9 * 2048]
    assert time.process_time() - started < granted(1)
