"""The line a person writes in: every key, in every piece a terminal may send it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conversations.channels.console.editor import KEYS, Asked, Editor, fitting, width

LETTERS = st.characters(exclude_categories=["Cc", "Cs"])
UP, LEFT, RIGHT, HOME, DELETE = b"\x1b[A", b"\x1b[D", b"\x1b[C", b"\x1b[H", b"\x1b[3~"


def typed(*pieces: bytes) -> tuple[Editor, list[str | Asked]]:
    editor = Editor()
    return editor, [done for piece in pieces for done in editor.feed(piece)]


@pytest.mark.parametrize(
    ("keys", "text", "cursor"),
    [
        (b"abc", "abc", 3),
        (b"abc" + LEFT + b"X", "abXc", 3),
        (b"abc" + HOME + b"X", "Xabc", 1),
        (b"abc\x01\x06X", "aXbc", 2),
        (b"abc\x7f", "ab", 2),
        (b"abc" + LEFT + DELETE, "ab", 2),
        (b"one two  \x17", "one ", 4),
        (b"one two" + LEFT + b"\x15", "o", 0),
        (b"one two" + HOME + RIGHT + b"\x0b", "o", 1),
        ("привет\x7f".encode(), "приве", 5),
        ("e\u0301\x7f".encode(), "", 0),
        ("👩\u200d👧\x7f".encode(), "", 0),
        (b"a\x1b[15~b", "ab", 2),
        (b"a\tb", "a b", 3),
        (b"abc\x03", "", 0),
    ],
)
def test_keys_do_what_they_say(keys: bytes, text: str, cursor: int) -> None:
    editor, done = typed(keys)
    assert (editor.text, editor.cursor, done) == (text, cursor, [])


def test_enter_finishes_a_line_and_up_brings_it_back() -> None:
    editor, done = typed(b"first\rsecond\r" + UP + UP)
    assert done == ["first", "second"]
    assert editor.text == "first"
    editor.feed(b"\x1b[B\x1b[B")
    assert editor.text == ""


@pytest.mark.parametrize("keys", [b"\x04", b"\x03"])
def test_an_empty_line_can_be_left(keys: bytes) -> None:
    assert typed(keys)[1] == [Asked.QUIT]


def test_ctrl_d_in_a_line_deletes() -> None:
    editor, done = typed(b"ab\x01\x04")
    assert (editor.text, done) == ("b", [])


def test_pasted_lines_are_one_message() -> None:
    _editor, done = typed(b"\x1b[200~one\rtwo\x1b[201~\r")
    assert done == ["one\ntwo"]


KEYSTROKES = st.one_of(
    st.text(LETTERS, max_size=5).map(str.encode),
    st.sampled_from([*map(str.encode, KEYS), b"\r", b"\x1b[200~", b"\x1b[201~"]),
)


@settings(max_examples=300)
@given(st.lists(KEYSTROKES), st.data())
def test_it_makes_no_difference_how_the_bytes_arrive(pieces: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    parts = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    at_once, in_parts = typed(whole), typed(*parts)
    assert (at_once[0].text, at_once[0].cursor, at_once[1]) == (in_parts[0].text, in_parts[0].cursor, in_parts[1])
    assert 0 <= at_once[0].cursor <= len(at_once[0].text)


@settings(max_examples=300)
@given(st.text(LETTERS, max_size=60), st.integers(0, 60), st.integers(5, 40))
def test_what_is_shown_fits_and_surrounds_the_cursor(text: str, cursor: int, columns: int) -> None:
    cursor = min(cursor, len(text))
    before, behind = fitting(text, cursor, columns)
    assert text[:cursor].endswith(before)
    assert text[cursor:].startswith(behind)
    assert width(before) + width(behind) <= columns
