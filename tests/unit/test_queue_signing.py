"""What is queued comes back as it was, or not at all."""

import json
from typing import Any

import pytest
from django.test import override_settings
from hypothesis import given, settings
from hypothesis import strategies as st

from config.queue import ArgumentsError, UnreadableError, registry, signing

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=300)
@given(st.lists(values, max_size=4))
def test_arguments_come_back_as_they_went(args: list[Any]) -> None:
    try:
        encoded = signing.encode("a.task", tuple(args))
    except ArgumentsError:
        assert len(json.dumps(args)) > 2000
        return
    assert signing.verified("a.task", encoded, *signing.sign("a.task", encoded)) == args


@settings(max_examples=300)
@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=12), st.text(max_size=64))
def test_nothing_foreign_is_believed(name: str, args: str, key_id: str, signature: str) -> None:
    ours, _ = signing.sign("a.task", "[]")
    for key in (key_id, ours):
        with pytest.raises(UnreadableError):
            signing.verified(name, args, key, signature)


@pytest.mark.parametrize(
    "argument", [object(), {1: "number keys"}, (1, 2), float("nan"), float("inf"), b"bytes", "x" * 2100, {"a": {1, 2}}]
)
def test_what_would_not_come_back_is_refused(argument: Any) -> None:
    with pytest.raises(ArgumentsError):
        signing.encode("a.task", (argument,))


def test_a_deep_structure_is_refused_and_not_a_crash() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ArgumentsError):
        signing.encode("a.task", (deep,))


def test_a_signature_moves_to_no_other_task_or_arguments() -> None:
    encoded = signing.encode("a.task", (1,))
    key_id, signature = signing.sign("a.task", encoded)
    for name, args in (("b.task", encoded), ("a.task", "[2]"), ("a.task", "[1 ]")):
        with pytest.raises(UnreadableError, match="does not belong"):
            signing.verified(name, args, key_id, signature)


def test_rows_outlive_a_change_of_the_secret_key_while_the_old_one_is_a_fallback() -> None:
    encoded = signing.encode("a.task", (1,))
    with override_settings(SECRET_KEY="the old one"):
        signed = signing.sign("a.task", encoded)
    with override_settings(SECRET_KEY="the new one", SECRET_KEY_FALLBACKS=["older", "the old one"]):
        assert signing.verified("a.task", encoded, *signed) == [1]
    with (
        override_settings(SECRET_KEY="the new one", SECRET_KEY_FALLBACKS=[]),
        pytest.raises(UnreadableError, match="neither SECRET_KEY nor a fallback"),
    ):
        signing.verified("a.task", encoded, *signed)


def test_keys_that_differ_stay_different() -> None:
    """A joined string would make these the same key."""
    assert signing.encode_key(["a", "b:c"]) != signing.encode_key(["a:b", "c"])
    for bad in ("", "x" * 301, ["x" * 400]):
        with pytest.raises(ArgumentsError):
            signing.encode_key(bad)


@pytest.mark.parametrize("name", ["", "Upper", "os.system;", "a b", "1a", "a" * 101, "а.cyrillic", "a\n"])
def test_odd_task_names_are_refused_when_they_are_registered(name: str) -> None:
    with pytest.raises(ValueError, match="is no task name"):
        registry.task(name)


def test_a_name_belongs_to_one_function(registered_alone: None) -> None:
    registry.task("unit.one")(test_keys_that_differ_stay_different)
    registry.task("unit.one")(test_keys_that_differ_stay_different)  # a module imported twice
    with pytest.raises(ValueError, match="already the task"):
        registry.task("unit.one")(test_a_deep_structure_is_refused_and_not_a_crash)
    for wrong in ({"timeout": 0}, {"timeout": 1.5}, {"timeout": 3601}, {"attempts": 0}, {"attempts": 101}):
        with pytest.raises(ValueError, match="timeout is 1 to"):
            registry.task("unit.two", **wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no task yet"):
        registry.every(60)(test_rows_outlive_a_change_of_the_secret_key_while_the_old_one_is_a_fallback)


@pytest.fixture
def registered_alone() -> Any:
    before = dict(registry.TASKS)
    yield
    registry.TASKS.clear()
    registry.TASKS.update(before)
