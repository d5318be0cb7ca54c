"""Times as sources write them: ISO texts, seconds or milliseconds since 1970, with a zone or without."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)  # PostgreSQL counts from here
UNIX = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST, LATEST = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)


def microseconds(moment: datetime) -> int:
    """Since 2000, as PostgreSQL stores it."""
    since = moment - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def parse(value: Any, zone: tzinfo) -> datetime | None:
    """The moment, in UTC; None where it cannot be read as one."""
    try:
        if isinstance(value, str):
            found = _of_text(value)
        elif isinstance(value, datetime):
            found = value
        elif type(value) in (int, float):
            found = _of_number(value)
        else:
            return None
        if found.tzinfo is not UTC:
            found = (found if found.tzinfo else found.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return found if EARLIEST <= found <= LATEST else None


def _of_text(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return _of_number(float(text))


def _of_number(number: float) -> datetime:
    """Seconds, milliseconds or microseconds: today is 2e9, 2e12 and 2e15 of them."""
    size = abs(number)
    scale = 1 if size < 1e11 else 1_000 if size < 1e14 else 1_000_000
    if isinstance(number, int):
        if scale == 1:
            return datetime.fromtimestamp(number, UTC)
        return UNIX + timedelta(microseconds=number * (1_000_000 // scale))
    return UNIX + timedelta(seconds=number / scale)
