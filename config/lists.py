"""Long lists in the admin: paging and filters that never read a whole table (ADR 0034)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import cached_property
from unfold.contrib.filters.admin import DropdownFilter, RangeDateFilter
from unfold.views import ChangeList as ThemeChangeList

from config.text import plain

FAR_ENOUGH = 10_000  # rows: what nobody pages beyond; filters and search lead further


class CappedPaginator(Paginator):  # type: ignore[type-arg]
    """Counts to the cap and no further: the first pages of a million rows cost what those of ten thousand do."""

    template_name = "config/pagination.html"
    cap = FAR_ENOUGH

    @cached_property
    def counted(self) -> int:
        rows = self.object_list
        if not isinstance(rows, QuerySet):
            return len(rows)
        return rows.order_by().values("pk")[: self.cap + 1].count()

    @cached_property
    def count(self) -> int:
        return min(self.counted, self.cap)

    @property
    def more(self) -> bool:
        return self.counted > self.cap


class ChangeList(ThemeChangeList):  # type: ignore[misc]
    """The theme would offer to show "all" beside every count it did not make."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        counted: int = self.result_count
        self.full_result_count: int = getattr(self, "full_result_count", None) or counted


class RecentValues(DropdownFilter):  # type: ignore[misc]
    """Offers the values of a column met in the newest rows; a DISTINCT over a million rows takes a second."""

    column: ClassVar[str]
    newest: ClassVar[tuple[Any, ...]]  # the ordering that finds the newest rows by an index
    window: ClassVar[int] = 2_000

    def lookups(self, _request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        rows = model_admin.model.objects.order_by(*self.newest).values_list(self.column, flat=True)[: self.window]
        values = {str(value) for value in rows if value is not None}
        chosen = self.used_parameters.get(self.parameter_name)
        return [(value, self.label(value)) for value in sorted(values | ({chosen} if chosen else set()))]

    def label(self, value: str) -> str:
        return plain(value)

    def queryset(self, _request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        try:
            return queryset.filter(**{self.column: self.value()}) if self.value() else queryset
        except (ValueError, ValidationError):
            return queryset.none()


class DateRange(RangeDateFilter):  # type: ignore[misc]
    """Whole days in the time zone of the site; the theme's own stops at the first moment of the last day."""

    def queryset(self, _request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        first, last = (self._day(f"{self.parameter_name}_{end}") for end in ("from", "to"))
        if first:
            queryset = queryset.filter(**{f"{self.parameter_name}__gte": _midnight(first)})
        if last and last < date.max:
            queryset = queryset.filter(**{f"{self.parameter_name}__lt": _midnight(last + timedelta(days=1))})
        return queryset

    def _day(self, name: str) -> date | None:
        try:
            day: date | None = forms.DateField(required=False).clean(self.used_parameters.get(name))
        except ValidationError:
            return None
        return day


def _midnight(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.min))
