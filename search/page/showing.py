"""Results as people read them: what was found, why, and how well. Text stays text; templates escape it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from uuid import UUID

from django.urls import NoReverseMatch
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from config.text import Piece, pieces, plain
from search import coverage as counted
from search import naming, spaces
from search.declarations import Searchable
from search.models import Entry, Space
from search.page.form import SearchForm
from search.results import Coverage, ExactCheck, Hit, Results

DEGRADED: dict[str, str | Promise] = {
    "embeddings_off": _("No embedder is configured, so this was found by words alone."),
    "embeddings_down": _("The embedder did not answer, so this was found by words alone."),
    "no_space": _("Nothing was embedded yet, so this was found by words alone."),
    "building": _("Vectors of a new model are being made; until they are complete the former ones answer."),
    "other_model": _(
        "The former model cannot be asked any more, so this was found by words alone until the new one is ready."
    ),
    "incomplete": _("Some entries have no vector yet: by meaning they are not found."),
    "no_index": _("The index of vectors is being built: until then they are compared one by one, more slowly."),
    "unread": _("The model of the vectors does not read this language: words come first."),
    "timeout": _("One of the two searches took too long and was given up."),
}
FIELDS: dict[str, str | Promise] = {
    "type": _("kind"),
    "user": _("user"),
    "agent": _("agent"),
    "role": _("role"),
    "after": _("from"),
    "before": _("to"),
    "deleted": _("deleted"),
    "metadata": _("metadata"),
    "session": _("conversation"),
}
STEPS: dict[str, str | Promise] = {
    "embed": _("vector of the question"),
    "words": _("words of the question"),
    "vector": _("search by meaning"),
    "keyword": _("search by words"),
    "load": _("reading and marking"),
}
LONG = 400  # characters of an entry that stand for it


@dataclass(frozen=True)
class Marked:
    """A piece of a snippet: marked where it matches, its invisible characters spelled out."""

    pieces: list[Piece]
    marked: bool


@dataclass(frozen=True)
class Shown:
    """One hit."""

    hit: Hit
    number: int
    kind: str | Promise
    title: str
    link: str
    role: str
    agent: str

    @cached_property
    def snippet(self) -> list[Marked]:
        return [Marked(pieces(segment.text), segment.marked) for segment in self.hit.snippet]

    @cached_property
    def matched(self) -> list[str]:
        """The words that matched, once each, as they stand in the text."""
        return list(dict.fromkeys(plain(segment.text) for segment in self.hit.snippet if segment.marked))

    @property
    def nearness(self) -> int:
        """Cosine in percent; what points away is not near at all."""
        return max(0, round(100 * (self.hit.similarity or 0)))

    @property
    def like(self) -> str:
        return f"{self.hit.entity_type}:{self.hit.entity_id}"

    @property
    def details(self) -> list[tuple[str, str]]:
        """Small scalars of the metadata that are not said elsewhere."""
        said = {"role", "agent", "conversation_id", "message_index", "title", "name", "author"}
        return [
            (plain(str(key)), plain(str(value))[:100])
            for key, value in self.hit.metadata.items()
            if key not in said and value not in (None, "")
        ]


@dataclass(frozen=True)
class Step:
    """One part of the time a search took."""

    says: str | Promise
    ms: float
    share: float


class Page:
    """What stands on the page, filled in as it becomes known."""

    def __init__(self, form: SearchForm, kinds: Mapping[str, Searchable]) -> None:
        self.form, self.kinds = form, kinds
        self.found: Results | None = None
        self.hits: list[Shown] = []
        self.like: tuple[str, UUID] | None = None
        self.check: ExactCheck | None = None
        self.unchecked = self.refused = ""

    def show(self, found: Results) -> None:
        self.found = found
        titles, labels = naming.titles(found.hits), {name: dict(naming.choices(name)) for name in ("role", "agent")}
        labels["agent"][""] = labels["agent"].get(
            naming.default("agent") or "", ""
        )  # who answers where nobody is named
        self.hits = [self._shown(hit, number, titles, labels) for number, hit in enumerate(found.hits, start=1)]

    def _shown(self, hit: Hit, number: int, titles: Mapping[UUID, str], labels: dict[str, dict[str, str]]) -> Shown:
        kind = self.kinds.get(hit.entity_type)
        role = str(hit.metadata.get("role") or "")
        return Shown(
            hit=hit,
            number=number,
            kind=kind.label if kind else hit.entity_type,
            title=plain(titles.get(hit.entity_id) or str(hit.metadata.get("title") or hit.metadata.get("name") or ""))[
                :200
            ],
            link=_safe(kind, hit),
            role=plain(str(hit.metadata.get("author") or labels["role"].get(role, role))),
            agent=plain(labels["agent"].get(str(hit.metadata.get("agent")), "")),
        )

    @property
    def mode(self) -> str:
        return self.form.chosen_mode if self.form.is_valid() else "hybrid"

    @property
    def chosen_types(self) -> list[str]:
        return list(self.form.asked.getlist("type"))

    @property
    def complaints_in_filters(self) -> bool:
        return bool(set(self.form.errors) - {"q", "mode"})

    @property
    def agreed(self) -> int:
        """How many of the nearest the index found."""
        return len(set(self.check.indexed) & set(self.check.exact)) if self.check else 0

    @property
    def recall(self) -> int:
        """In percent, rounded down: 100 is said of all."""
        return int(100 * self.check.recall) if self.check else 0

    @property
    def asked(self) -> bool:
        return bool(self.found or self.refused or self.form.errors)

    @property
    def notes(self) -> list[str | Promise]:
        return [DEGRADED.get(name, name) for name in self.found.degraded] if self.found else []

    @property
    def steps(self) -> list[Step]:
        timings = self.found.timings if self.found else {}
        longest = max(timings.values(), default=0) or 1
        return [Step(STEPS.get(name, name), ms, 100 * ms / longest) for name, ms in timings.items()]

    @property
    def chips(self) -> list[tuple[str | Promise, Any, str]]:
        """Each filter in use: what it is, its value, and the address without it."""
        if not self.form.is_valid():
            return []
        return [(FIELDS[name], value, self._without(name)) for name, value in self.form.narrowed()]

    @property
    def complaints(self) -> Iterator[tuple[str | Promise, str]]:
        for name, errors in self.form.errors.items():
            yield FIELDS.get(name, _("question") if name == "q" else name), " ".join(map(str, errors))

    @cached_property
    def source(self) -> list[Piece]:
        """The entry that "more like this" began with, if it is there and may be seen."""
        if self.like is None or self.like[0] not in self.kinds:
            return []
        entry = Entry.objects.filter(entity_type=self.like[0], entity_id=self.like[1]).order_by("chunk").first()
        return pieces(entry.content[:LONG]) if entry else []

    def _without(self, *names: str) -> str:
        rest = self.form.asked.copy()
        for name in (*names, "exact"):
            rest.pop(name, None)
        return f"?{rest.urlencode()}"

    @property
    def unfiltered(self) -> str:
        return self._without(*FIELDS)

    @property
    def exactly(self) -> str:
        rest = self.form.asked.copy()
        rest["exact"] = "1"
        return f"?{rest.urlencode()}"

    @property
    def unlike(self) -> str:
        """Where "more like this" leads from here: filters stay, the question goes."""
        rest = self.form.asked.copy()
        for name in ("like", "exact", "q"):
            rest.pop(name, None)
        return f"?{rest.urlencode()}&like=" if rest else "?like="

    def in_mode(self, mode: str) -> str:
        rest = self.form.asked.copy()
        rest["mode"] = mode
        return f"?{rest.urlencode()}"

    @property
    def by_words(self) -> str:
        return self.in_mode("keyword")

    @property
    def by_meaning(self) -> str:
        return self.in_mode("vector")


@dataclass(frozen=True)
class Covered:
    """The parts of the index as a bar."""

    numbers: Coverage
    parts: list[tuple[str, str | Promise, int, float]] = field(default_factory=list)  # css name, words, number, percent

    @property
    def percent(self) -> int:
        """Rounded down: 100 is said of all, never of almost all."""
        return int(100 * self.numbers.share)


def coverage(found: Results | None) -> Covered:
    """As the search saw it, or counted last."""
    numbers = found.coverage if found else counted.of(spaces.serving())
    total = max(1, numbers.entries)
    parts: list[tuple[str, str | Promise, int]] = [
        ("embedded", _("by meaning and words"), numbers.embedded),
        ("pending", _("waiting for a vector, found by words"), numbers.pending),
        ("failed", _("refused by the model, found by words"), numbers.failed),
    ]
    return Covered(numbers, [(name, says, number, 100 * number / total) for name, says, number in parts])


@dataclass(frozen=True)
class Progress:
    """A space on its way, in percent."""

    space: Space

    @cached_property
    def told(self) -> spaces.Progress:
        return spaces.progress(self.space)

    @property
    def bars(self) -> list[tuple[str | Promise, int]]:
        return [
            (_("texts copied"), int(100 * self.told.copied)),
            (_("vectors made"), int(100 * self.told.embedded)),
            (_("index built"), int(100 * self.told.indexed)),
        ]


def _safe(kind: Searchable | None, hit: Hit) -> str:
    """A page of ours or nothing: a link is made from what is stored, and what is stored may be old or foreign."""
    try:
        link = kind.link(hit) if kind else ""
    except (KeyError, TypeError, ValueError, NoReverseMatch):
        return ""
    return link if link.startswith("/") and not link.startswith("//") else ""
