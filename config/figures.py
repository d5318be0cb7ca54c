"""The figures of the start page, which staff have open all day. Every room declares its own; the page knows none.

    @figure(_("Turns"), "SELECT count(*) FROM turns WHERE ...", group=_("Answers"), permission="agents.view_agent")
    def turns(number: int) -> Told: ...

A query returns one row, whose columns the function is given; it is bounded by an index or a LIMIT, because it is asked
again every half minute. One that fails or takes too long is told as missing, and the others are told all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString

import structlog
from django.db import DatabaseError, connection, transaction
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.functional import Promise
from django.utils.http import urlencode
from django.utils.translation import gettext_lazy

log = structlog.get_logger(__name__)

PATIENCE = 1_000  # ms for one query
HOURS = 24  # how far back a chart reaches
TENTHS = 10  # seconds: what is shorter is told more exactly
SPANS = (  # below so many seconds, in units of so many, said so
    (120, 1, gettext_lazy("%s s")),
    (7_200, 60, gettext_lazy("%s min")),
    (172_800, 3_600, gettext_lazy("%s h")),
    (float("inf"), 86_400, gettext_lazy("%s d")),
)

Text = str | Promise


@dataclass(frozen=True)
class Told:
    """What a figure says: the number, what it is made of, and, where somebody should act, what happened."""

    value: str
    note: str = ""
    alert: str = ""


@dataclass(frozen=True)
class Figure:
    """A number with its query, who may see it, and where its rows are."""

    title: Text
    query: LiteralString
    tell: Callable[..., Told]
    group: Text
    permission: str
    page: str = ""  # the name of a URL
    narrowed: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.tell.__name__

    @property
    def room(self) -> str:
        return self.permission.partition(".")[0]


@dataclass(frozen=True)
class Chart:
    """Two numbers by the hour. The query is told `since`, when the first hour begins, and `ago`, how long ago that is;
    it returns how many hours later, and both numbers, for the hours that have any."""

    title: Text
    names: tuple[Text, Text]
    query: LiteralString
    permission: str
    nothing: Text  # what to say while there is nothing to draw,
    page: str  # and where to go


@dataclass(frozen=True)
class Shown:
    """A figure as the page shows it; `told` is None where it could not be asked."""

    figure: Figure
    url: str
    told: Told | None


@dataclass(frozen=True)
class Hour:
    """One step of a chart."""

    begins: datetime
    numbers: tuple[int, int]


FIGURES: list[Figure] = []
CHARTS: list[Chart] = []


def figure(
    title: Text, query: LiteralString, *, group: Text, permission: str, page: str = "", **narrowed: str
) -> Callable[[Callable[..., Told]], Callable[..., Told]]:
    """Declare one; `page` and `narrowed` are the URL name and the parameters of the list that holds its rows."""

    def declare(tell: Callable[..., Told]) -> Callable[..., Told]:
        FIGURES.append(Figure(title, query, tell, group, permission, page, narrowed))
        return tell

    return declare


def shown(request: HttpRequest) -> list[Shown]:
    """Every figure this person may see."""
    with _reading():
        return [Shown(one, _url(one), _told(one)) for one in FIGURES if request.user.has_perm(one.permission)]


def hours(chart: Chart) -> list[Hour] | None:
    """The last day, oldest hour first and the last one unfinished; None where the chart could not be asked."""
    now = timezone.localtime()
    since = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=HOURS - 1)
    with _reading():
        rows = _asked(str(chart.title), chart.query, {"since": since, "ago": now - since})
    if rows is None:
        return None
    numbers = {step: (first, second) for step, first, second in rows}
    begins = [timezone.localtime(since.astimezone(UTC) + timedelta(hours=step)) for step in range(HOURS)]
    return [Hour(begun, numbers.get(step, (0, 0))) for step, begun in enumerate(begins)]


def count(number: int) -> str:
    """For people: 12,345."""
    return number_format(number, force_grouping=True)


def span(seconds: float | None) -> str:
    """For people: 0.4 s, 12 s, 3 min, 5 h, 2 d."""
    if seconds is None:
        return "–"
    unit, words = next((unit, words) for most, unit, words in SPANS if seconds < most)
    number = round(seconds / unit, 1) if seconds < TENTHS else round(seconds / unit)
    return str(words) % number_format(number, 1 if seconds < TENTHS else 0)


def _url(one: Figure) -> str:
    if not one.page:
        return ""
    return reverse(one.page) + (f"?{urlencode(one.narrowed)}" if one.narrowed else "")


def _told(one: Figure) -> Told | None:
    rows = _asked(one.name, one.query)
    return one.tell(*rows[0]) if rows else None


@contextmanager
def _reading() -> Iterator[None]:
    """A transaction that is rolled back, so that its time limit ends with it."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(PATIENCE)])
        yield
        transaction.set_rollback(True)


def _asked(
    name: str, query: LiteralString, values: Mapping[str, Any] | None = None
) -> Sequence[tuple[Any, ...]] | None:
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(query, values)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
    except DatabaseError as error:
        log.error("figure unavailable", figure=name, reason=type(error).__name__, exc_info=error)
        return None
    return rows
