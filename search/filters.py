"""Which entries a search may tell of: names from a fixed list, values checked, never a word of SQL from outside."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any
from uuid import UUID

from django.utils.dateparse import parse_date, parse_datetime

from search import naming
from search.declarations import declared
from search.errors import SearchError

KNOWN = ("agent", "role", "session_id", "after", "before", "deleted", "metadata")
DELETED = ("without", "with", "only")
MOST_KEYS = 10
LONGEST = 200  # characters of a key or a value
BIGINT = 2**63
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Where:
    """Conditions on `search_index` with their values; `narrow` where there is any beside the space and `deleted`."""

    conditions: tuple[str, ...]
    values: dict[str, Any]
    narrow: bool

    @property
    def sql(self) -> str:
        return " AND ".join(self.conditions) or "true"


def where(user_id: int | None, entity_types: Sequence[str] | None, filters: Mapping[str, Any] | None) -> Where:
    """Check everything that was asked for, and say it in SQL."""
    filters = dict(filters or {})
    unknown = sorted(set(map(str, filters)) - set(KNOWN))
    if unknown:
        raise SearchError(f"There is no filter of this name; there are {', '.join(KNOWN)}.", field=unknown[0][:50])
    conditions: list[str] = []
    values: dict[str, Any] = {}
    if user_id is not None:
        conditions.append("user_id = %(user_id)s")
        values["user_id"] = _integer("user_id", user_id)
    if entity_types is not None:
        conditions.append("entity_type = ANY(%(entity_types)s)")
        values["entity_types"] = _types(entity_types)
    if contained := _contained(filters):
        condition = "metadata @> %(metadata)s::jsonb"
        values["metadata"] = json.dumps(contained)
        agent = contained.get("agent")
        if agent is not None and agent == naming.default("agent"):  # two looks into the same index
            condition = f"({condition} OR metadata @> %(left_open)s::jsonb)"
            values["left_open"] = json.dumps(contained | {"agent": ""})
        conditions.append(condition)
    for name, operator in (("after", ">="), ("before", "<")):
        if filters.get(name) is not None:
            conditions.append(f"at {operator} %({name})s")
            values[name] = _moment(name, filters[name])
    narrow = bool(conditions)
    match filters.get("deleted") or "without":
        case "without":
            conditions.append("NOT deleted")
        case "only":
            conditions.append("deleted")
            narrow = True
        case "with":
            pass
        case _:
            raise SearchError(f"One of {', '.join(DELETED)}.", field="deleted")
    return Where(tuple(conditions), values, narrow)


def _types(entity_types: Sequence[str]) -> list[str]:
    if isinstance(entity_types, str):
        raise SearchError("A list of types is wanted.", field="entity_types")
    known = declared()
    for entity_type in entity_types:
        if entity_type not in known:
            raise SearchError(f"Nothing of this type can be found; there are {', '.join(known)}.", field="entity_types")
    return list(entity_types)


def _contained(filters: Mapping[str, Any]) -> dict[str, Any]:
    """The part of the metadata that has to be just so."""
    found: dict[str, Any] = {}
    given = filters.get("metadata") or {}
    if not isinstance(given, Mapping) or len(given) > MOST_KEYS:
        raise SearchError(f"At most {MOST_KEYS} keys with a value each.", field="metadata")
    for key, value in given.items():
        found[_text("metadata", key)] = _scalar("metadata", value)
    for name in ("agent", "role"):
        if filters.get(name) is not None:
            found[name] = _text(name, str(filters[name]) if isinstance(filters[name], UUID) else filters[name])
    if filters.get("session_id") is not None:
        found["conversation_id"] = str(_uuid("session_id", filters["session_id"]))
    return found


def _scalar(name: str, value: Any) -> Any:
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int) and -BIGINT <= value < BIGINT:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    return _text(name, str(value) if isinstance(value, UUID) else value)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or len(value) > LONGEST or UNSTORABLE.search(value):
        raise SearchError(f"A text of at most {LONGEST} characters is wanted.", field=name)
    return value


def _integer(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not -BIGINT <= value < BIGINT:
        raise SearchError("A whole number of 64 bits is wanted.", field=name)
    return value


def _uuid(name: str, value: Any) -> UUID:
    try:
        return value if isinstance(value, UUID) else UUID(value)
    except (ValueError, TypeError, AttributeError):
        raise SearchError("A UUID is wanted.", field=name) from None


def _moment(name: str, value: Any) -> datetime:
    """A day begins at midnight UTC."""
    try:
        if isinstance(value, str):
            value = parse_datetime(value) or parse_date(value)
    except ValueError:
        value = None
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, date):
        return datetime.combine(value, time.min, tzinfo=UTC)
    raise SearchError("A date, or a date and a time, is wanted.", field=name)
