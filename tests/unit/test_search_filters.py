"""Filters of the search: names from a list, values checked at their edges, nothing of a caller in the SQL."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any
from uuid import uuid4

import pytest

from search import filters
from search.errors import SearchError

ID = uuid4()
DAY = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def agents(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default agent is called "standing": no registry is asked."""
    monkeypatch.setattr(filters.naming, "default", lambda _name: "standing")


def where(user_id: Any = None, types: Any = None, **given: Any) -> filters.Where:
    return filters.where(user_id, types, given)


@pytest.mark.parametrize(
    ("given", "conditions", "narrow"),
    [
        ({}, ("NOT deleted",), False),
        ({"deleted": "with"}, (), False),
        ({"deleted": "only"}, ("deleted",), True),
        ({"deleted": ""}, ("NOT deleted",), False),
        ({"after": "2026-03-01"}, ("at >= %(after)s", "NOT deleted"), True),
        ({"before": "2026-03-01"}, ("at < %(before)s", "NOT deleted"), True),
        ({"role": "user"}, ("metadata @> %(metadata)s::jsonb", "NOT deleted"), True),
        (
            {"agent": "standing"},
            ("(metadata @> %(metadata)s::jsonb OR metadata @> %(left_open)s::jsonb)", "NOT deleted"),
            True,
        ),
        ({"agent": "another"}, ("metadata @> %(metadata)s::jsonb", "NOT deleted"), True),
    ],
)
def test_each_filter_is_one_condition(given: dict[str, Any], conditions: tuple[str, ...], narrow: bool) -> None:
    found = where(**given)
    assert (found.conditions, found.narrow) == (conditions, narrow)


def test_nothing_asked_is_everything() -> None:
    assert where(deleted="with").sql == "true"
    assert where(7, deleted="only").sql == "user_id = %(user_id)s AND deleted"


def test_a_user_and_a_session_narrow_it() -> None:
    assert where(0).values == {"user_id": 0}
    assert where(0).narrow
    assert where(session_id=ID).values == {"metadata": f'{{"conversation_id": "{ID}"}}'}
    assert where(session_id=str(ID)).values == where(session_id=ID).values


@pytest.mark.parametrize("value", ["2026-03-01", date(2026, 3, 1), datetime(2026, 3, 1), "2026-03-01T00:00", DAY])  # noqa: DTZ001
def test_a_moment_without_a_zone_is_utc(value: Any) -> None:
    assert where(after=value).values["after"] == DAY


@pytest.mark.parametrize("value", [True, -1.5, 0, 2**63 - 1, -(2**63), "x" * 200, ID])
def test_values_of_metadata_up_to_their_edge(value: Any) -> None:
    assert where(metadata={"key": value}).narrow


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("user_id", {"user_id": 2**63}),
        ("user_id", {"user_id": -(2**63) - 1}),
        ("user_id", {"user_id": True}),
        ("user_id", {"user_id": "7"}),
        ("metadata", {"metadata": {"key": 2**63}}),
        ("metadata", {"metadata": {"key": float("nan")}}),
        ("metadata", {"metadata": {"key": float("inf")}}),
        ("metadata", {"metadata": {"key": "x" * 201}}),
        ("metadata", {"metadata": {"key": "\0"}}),
        ("metadata", {"metadata": {"x" * 201: 1}}),
        ("metadata", {"metadata": {"key": ["a"]}}),
        ("metadata", {"metadata": {str(number): number for number in range(11)}}),
        ("metadata", {"metadata": ["key"]}),
        ("role", {"role": "\ud800"}),
        ("agent", {"agent": 7}),
        ("session_id", {"session_id": "x"}),
        ("session_id", {"session_id": 7}),
        ("after", {"after": "yesterday"}),
        ("after", {"after": "2026-13-01"}),
        ("before", {"before": 7}),
        ("deleted", {"deleted": "perhaps"}),
        ("entity_types", {"types": "message"}),
        ("entity_types", {"types": ["no such type"]}),
        ("color", {"color": "red"}),
    ],
)
def test_what_cannot_be_asked_is_refused_by_its_name(field: str, given: dict[str, Any]) -> None:
    with pytest.raises(SearchError) as caught:
        where(given.pop("user_id", None), given.pop("types", None), **given)
    assert caught.value.field == field


def test_ten_keys_are_the_most() -> None:
    assert where(metadata={str(number): number for number in range(10)}).narrow
