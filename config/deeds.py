"""What staff do on this floor and what must be on record; a higher room keeps the record and registers itself here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

LISTENERS: list[Callable[[str, str, tuple[str, object], Mapping[str, Any]], None]] = []


def tell(action: str, by: str, subject: tuple[str, object], details: Mapping[str, Any]) -> None:
    """Put it on record; called in the transaction of the deed."""
    for listener in LISTENERS:
        listener(action, by, subject, details)
