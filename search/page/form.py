"""What staff may ask for, checked: the fields of the search page and the arguments they make."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.http import QueryDict
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from search import naming
from search.declarations import Searchable
from search.query import LONGEST

MODES = [("hybrid", _("Both")), ("vector", _("Meaning")), ("keyword", _("Words"))]
DELETED = [("without", _("without deleted")), ("with", _("with deleted")), ("only", _("only deleted"))]
LIMITS = [10, 25, 50, 100]
BIGINT = 2**63


class Pairs(forms.CharField):
    """`key=value, other="text, with a comma"`: values are numbers, true, false or null, and else text."""

    default_error_messages = {"pairs": _("Write it as key=value, several separated by commas.")}

    def clean(self, value: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for part in filter(None, (part.strip() for part in str(super().clean(value)).split(","))):
            key, equals, given = (side.strip() for side in part.partition("="))
            if not equals or not key:
                raise forms.ValidationError(self.error_messages["pairs"], code="pairs")
            found[key] = _scalar(given)
        return found


class SearchForm(forms.Form):
    """Every field is optional; a page without a question shows how to ask one."""

    q = forms.CharField(required=False, max_length=LONGEST)
    mode = forms.ChoiceField(required=False, choices=MODES)
    type = forms.MultipleChoiceField(required=False)
    user = forms.IntegerField(required=False, min_value=-BIGINT, max_value=BIGINT - 1)
    agent = forms.ChoiceField(required=False)
    role = forms.ChoiceField(required=False)
    after = forms.DateField(required=False)
    before = forms.DateField(required=False)
    deleted = forms.ChoiceField(required=False, choices=DELETED)
    metadata = Pairs(required=False, max_length=500)
    session = forms.UUIDField(required=False)
    limit = forms.ChoiceField(required=False, choices=[(str(number), str(number)) for number in LIMITS])

    def __init__(self, asked: QueryDict, types: Mapping[str, Searchable]) -> None:
        super().__init__(asked)
        self.asked, self.types = asked, list(types)
        fields: Mapping[str, Any] = self.fields
        fields["type"].choices = [(name, declared.label) for name, declared in types.items()]
        for name in ("agent", "role"):
            fields[name].choices = [("", ""), *naming.choices(name)]

    @property
    def text(self) -> str:
        return str(self.cleaned_data.get("q", ""))

    @property
    def chosen_mode(self) -> str:
        return self.cleaned_data.get("mode") or "hybrid"

    @property
    def chosen_limit(self) -> int:
        return int(self.cleaned_data.get("limit") or LIMITS[0])

    def narrowing(self) -> dict[str, Any]:
        """Whose and which rows, as `search` takes them: never a type that this person may not see."""
        said = self.cleaned_data
        filters = {
            "agent": said["agent"] or None,
            "role": said["role"] or None,
            "after": _midnight(said["after"]),
            "before": _midnight(said["before"] + timedelta(days=1) if said["before"] else None),  # to its end
            "deleted": said["deleted"] or "without",
            "metadata": said["metadata"] or None,
            "session_id": said["session"],
        }
        return {
            "user_id": said["user"],
            "entity_types": said["type"] or self.types,
            "filters": {name: value for name, value in filters.items() if value is not None},
        }

    def narrowed(self) -> list[tuple[str, Any]]:
        """The filters in use, as they stand in the address: chips that can be taken off one by one."""
        said: list[tuple[str, Any]] = []
        for name in ("type", "user", "agent", "role", "after", "before", "deleted", "metadata", "session"):
            if self.cleaned_data.get(name) in (None, "", [], {}) or self.cleaned_data[name] == "without":
                continue
            said.append((name, self._shown(name)))
        return said

    def _shown(self, name: str) -> Any:
        value = self.cleaned_data[name]
        field: Any = self.fields[name]
        if name == "metadata":
            return self.asked.get("metadata", "")
        if name == "type":
            return ", ".join(str(label) for key, label in field.choices if key in value)
        return dict(field.choices).get(value, value) if name in {"agent", "role", "deleted"} else value


def _scalar(text: str) -> Any:
    try:
        found = json.loads(text, parse_constant=str)
    except (ValueError, RecursionError):
        return text
    return text if isinstance(found, dict | list) else found


def _midnight(day: date | None) -> datetime | None:
    """Where that day begins for the person who asks."""
    return timezone.make_aware(datetime.combine(day, time.min)) if day else None


def like(text: str) -> tuple[str, UUID] | None:
    """`type:id` of the entry whose likes are wanted."""
    entity_type, _colon, id_ = text.partition(":")
    try:
        return entity_type, UUID(id_)
    except ValueError:
        return None
