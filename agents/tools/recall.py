"""What the person said before. Other rooms register where to look; each sees that person's rows alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import zip_longest
from typing import Any

from agents.tools import Call, tool

MOST = 5
LONGEST = 500  # characters of a hit


@dataclass(frozen=True, slots=True)
class Hit:
    """One thing found: its text, when it was said, and how to name it."""

    text: str
    when: str
    reference: str


Source = Callable[[Call, str, int], list[Hit]]  # the call, the words looked for, how many at most
SOURCES: dict[str, Source] = {}


def register_source(name: str, source: Source) -> None:
    """Let `recall` look there, too."""
    SOURCES[name] = source


@tool(
    "recall",
    "Finds what this person wrote earlier, in this and in other conversations, and what was noted down about it.",
    schema={
        "properties": {"query": {"type": "string", "minLength": 1, "maxLength": 500, "description": "a few words"}},
        "required": ["query"],
    },
    available=lambda: bool(SOURCES),
)
def recall(call: Call, query: str) -> dict[str, Any]:
    rows = zip_longest(*(source(call, query, MOST) for source in SOURCES.values()))
    found = [hit for row in rows for hit in row if hit is not None]  # the best of each first
    return {"hits": [asdict(hit) | {"text": hit.text[:LONGEST]} for hit in found[:MOST]]}
