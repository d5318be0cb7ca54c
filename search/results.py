"""What a search answers: plain values, nothing of which is HTML."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a snippet; `marked` where it matches the query."""

    text: str
    marked: bool = False


@dataclass(frozen=True, slots=True)
class Hit:
    """One thing that was found, by its best chunk."""

    entity_type: str
    entity_id: UUID
    chunk: int
    content: str  # the chunk as it is indexed
    snippet: tuple[Segment, ...]  # the telling part of it
    score: float  # of the fusion; comparable within one result only
    ranks: dict[str, int | None]  # {"vector": 1-based rank or None, "keyword": ...}
    similarity: float | None  # cosine, where the vector was compared
    user_id: int | None
    metadata: dict[str, Any]
    deleted: bool
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of what can be found has a vector in the serving space, as last counted."""

    entries: int = 0  # chunks in the index
    embedded: int = 0
    pending: int = 0  # entries that wait for a vector
    failed: int = 0  # entries whose vector was refused for good
    stale: int = 0  # changed or new rows the index has not seen yet

    @property
    def share(self) -> float:
        """The embedded part of what there is, from 0 to 1; nothing to embed is all of it."""
        return self.embedded / self.entries if self.entries else 1.0


@dataclass(frozen=True, slots=True)
class Results:
    """The hits, how they were found, and how much to believe them."""

    hits: list[Hit]
    mode: str  # as asked: hybrid, vector, keyword
    took_ms: float
    timings: dict[str, float] = field(default_factory=dict)  # ms: embed, vector, keyword, load
    coverage: Coverage = field(default_factory=Coverage)
    degraded: tuple[str, ...] = ()  # see search.query.DEGRADED
    scan: str = ""  # how vectors were compared: exact, index, or "" for not at all
    space: str = ""  # the model whose vectors were compared
    words: tuple[str, ...] = ()  # what the full text looked for, as lexemes; a trailing * is a prefix


@dataclass(frozen=True, slots=True)
class ExactCheck:
    """The index of vectors beside an exact scan of the same candidates."""

    recall: float  # share of the exact scan's hits that the index found, 0 to 1
    indexed: list[tuple[str, UUID, int]]  # entity_type, entity_id, chunk; best first
    exact: list[tuple[str, UUID, int]]
    index_ms: float
    exact_ms: float
    scan: str  # what a search of these filters uses: exact or index
    candidates: int  # vectors the exact scan compared
