"""What an import found, told so that a manager can read it; it is stored with every chunk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from conversations.models import RejectReason

EXAMPLES = 3  # of each problem
REPAIRS = {
    "nul": gettext_lazy("NUL characters were replaced"),
    "surrogate": gettext_lazy("halves of characters were replaced"),
    "deep": gettext_lazy("metadata nested too deeply were stored as text"),
    "time": gettext_lazy("no time that can be read: the time of the message before it was taken"),
    "erased": gettext_lazy("erased here before: not brought again"),
    "closed": gettext_lazy("the chat goes on in another conversation: this one is closed"),
    "waiting": gettext_lazy("waits for an answer"),
}
KINDS = {**REPAIRS, **{reason.value: reason.label for reason in RejectReason}}


@dataclass
class Problem:
    count: int = 0
    examples: list[str] = field(default_factory=list)


@dataclass
class Report:
    """Counts of what was read, and of what was wrong with it."""

    conversations: int = 0
    opened: int = 0
    read: int = 0
    brought: int = 0
    known: int = 0
    rejected: int = 0
    roles: dict[str, int] = field(default_factory=dict)
    first: datetime | None = None
    last: datetime | None = None
    problems: dict[str, Problem] = field(default_factory=dict)

    def note(self, kind: str, example: str = "", count: int = 1) -> None:
        problem = self.problems.setdefault(kind, Problem())
        problem.count += count
        if example and len(problem.examples) < EXAMPLES:
            problem.examples.append(example[:200])

    def said(self, role: str, created: datetime) -> None:
        """A message that is brought."""
        self.brought += 1
        self.roles[role] = self.roles.get(role, 0) + 1
        if self.first is None or created < self.first:
            self.first = created
        if self.last is None or created > self.last:
            self.last = created

    def plus(self, other: Report) -> Report:
        """Both together; what a chunk that was not written found is simply left out."""
        made = Report.of(self.as_json())
        for name in ("conversations", "opened", "read", "brought", "known", "rejected"):
            setattr(made, name, getattr(self, name) + getattr(other, name))
        for role, count in other.roles.items():
            made.roles[role] = made.roles.get(role, 0) + count
        made.first = min(filter(None, (self.first, other.first)), default=None)
        made.last = max(filter(None, (self.last, other.last)), default=None)
        for kind, problem in other.problems.items():
            made.note(kind, count=problem.count)
            made.problems[kind].examples = (made.problems[kind].examples + problem.examples)[:EXAMPLES]
        return made

    def as_json(self) -> dict[str, Any]:
        problems = {kind: {"count": one.count, "examples": one.examples} for kind, one in self.problems.items()}
        span = {
            name: moment.isoformat() if moment else "" for name, moment in (("first", self.first), ("last", self.last))
        }
        return {**vars(self), **span, "roles": dict(self.roles), "problems": problems}

    @classmethod
    def of(cls, stored: dict[str, Any]) -> Report:
        problems = {
            kind: Problem(one["count"], list(one["examples"])) for kind, one in stored.get("problems", {}).items()
        }
        span = {name: _moment(stored.get(name)) for name in ("first", "last")}
        return cls(**{**stored, **span, "roles": dict(stored.get("roles", {})), "problems": problems})

    def lines(self) -> Iterator[tuple[str, str]]:
        """Headings with what they say; problems are told apart."""
        yield _("Conversations"), _("%(all)s, of which %(new)s are new") % {
            "all": f"{self.conversations:,}", "new": f"{self.opened:,}"
        }  # fmt: skip
        yield _("Messages read"), f"{self.read:,}"
        yield _("brought"), f"{self.brought:,}"
        yield _("known before"), f"{self.known:,}"
        yield _("rejected"), f"{self.rejected:,}"
        yield _("By role"), ", ".join(f"{role} {count:,}" for role, count in sorted(self.roles.items())) or "–"
        yield _("Time span"), f"{_day(self.first)} – {_day(self.last)}" if self.first else "–"

    def troubles(self) -> Iterator[tuple[str, str, list[str]]]:
        """Each kind of problem: what, how often, where for example."""
        for kind, problem in sorted(self.problems.items(), key=lambda pair: -pair[1].count):
            often = ngettext("%(n)s time", "%(n)s times", problem.count) % {"n": f"{problem.count:,}"}
            yield str(KINDS.get(kind, kind)), often, problem.examples


def _moment(stored: str | None) -> datetime | None:
    return datetime.fromisoformat(stored) if stored else None


def _day(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment else "–"
