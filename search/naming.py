"""What search cannot know by itself: which agents and roles there are, and what the place of a hit is called.

Rooms say so when they start; a page that shows hits asks here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from search.results import Hit

Choices = Callable[[], Iterable[tuple[str, Any]]]
Titles = Callable[[Sequence[Hit]], Mapping[UUID, str]]

CHOICES: dict[str, Choices] = {}  # filter ("agent", "role") -> its values with what people call them
DEFAULTS: dict[str, Callable[[], str | None]] = {}  # filter -> the value meant where metadata leave it open ("")
TITLES: dict[str, Titles] = {}  # entity type -> the titles of hits by entity id


def choices(name: str) -> list[tuple[str, str]]:
    """The values of a filter with their labels; none where nobody offered any."""
    return [(str(value), str(label)) for value, label in CHOICES[name]()] if name in CHOICES else []


def default(name: str) -> str | None:
    """What things without a value of their own go by, as of now."""
    return DEFAULTS[name]() if name in DEFAULTS else None


def titles(hits: Sequence[Hit]) -> dict[UUID, str]:
    """What the places of these hits are called; those that nobody names are left out."""
    found: dict[UUID, str] = {}
    for entity_type in {hit.entity_type for hit in hits} & TITLES.keys():
        found.update(TITLES[entity_type]([hit for hit in hits if hit.entity_type == entity_type]))
    return found
