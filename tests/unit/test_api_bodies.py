"""The strict reader against Python's own: it takes less, and never reads anything differently."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conversations.api.bodies import INT64, read
from conversations.api.errors import ApiError

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
NUMBERS = st.integers(INT64.start, INT64.stop - 1) | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXT
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=10
)
OBJECTS = st.dictionaries(TEXT, VALUES, max_size=8)


def depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


@given(OBJECTS, st.booleans(), st.sampled_from([None, 1]))
@settings(max_examples=200, deadline=None)
def test_what_is_good_is_read_as_everybody_reads_it(value: dict[str, Any], escaped: bool, indent: int | None) -> None:
    assert depth(value) <= 33
    assert read(json.dumps(value, ensure_ascii=escaped, indent=indent).encode()) == value


NOISE = st.text(alphabet='{}[]:,"\\u0019deE.-+ntfal \n\0', max_size=80)


@given(st.binary(max_size=300) | NOISE.map(str.encode))
@settings(max_examples=1_000, deadline=None)
def test_whatever_comes_is_read_or_refused(body: bytes) -> None:
    try:
        value = read(body)
    except ApiError as refused:
        answer = refused.response()
    else:
        assert value == json.loads(body)
        answer = None
    assert answer is None or answer.status_code == 400


@given(OBJECTS, st.data())
@settings(max_examples=200, deadline=None)
def test_a_body_cut_short_is_never_taken_for_a_whole_one(value: dict[str, Any], data: st.DataObject) -> None:
    body = json.dumps(value).encode()
    cut = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises(ApiError):
        read(body[:cut])


@given(st.floats() | st.integers() | st.integers(10**18, 10**25))
@settings(max_examples=200, deadline=None)
def test_numbers_are_kept_or_refused(number: float) -> None:
    body = json.dumps({"n": number}).encode()
    fits = number in INT64 if isinstance(number, int) else math.isfinite(number)
    if fits:
        assert read(body) == {"n": number}
    else:
        with pytest.raises(ApiError, match=r"64 bits|NaN|large"):
            read(body)


@pytest.mark.parametrize(
    "body",
    [
        b'"' + b'\\"' * 2_000_000,
        b'"' * 4_000_000,
        b'{"' + b"\\" * 4_000_000,
        b"[" * 4_000_000,
        b"{}" * 2_000_000,
        b'{"a":' * 700_000,
        b'"a",' * 1_000_000,
        b" " * 4_000_000,
        b"1" * 4_000_000,
        b'{"a": "' + b"\\u0041" * 600_000 + b'"',
    ],
    ids=lambda body: f"{body[:10]!r}",
)
def test_four_megabytes_of_malice_are_refused_in_one_pass(body: bytes) -> None:
    """A reader that goes back even once per byte would not come to an end within hours."""
    with pytest.raises(ApiError):
        read(body)
