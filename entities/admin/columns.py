"""What a table's columns become in lists, filters and forms; nothing here knows any one table."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeAlias

from django import forms
from django.core.exceptions import ValidationError
from django.db import models
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from config.admin import AutocompleteFilter, BooleanFilter, ChoicesDropdownFilter, DateRange, display
from config.text import plain
from entities import hiding
from entities.base import Entity, naming_field, own_fields

SHOWN = 4  # columns of the table's own in its list
WIDEST = 80  # characters of a cell
SAID = ("conversation_id", "turn_id", "message_id")  # shown as links and not as something to type

Field: TypeAlias = "models.Field[Any, Any]"
Cell = Callable[[Any], str]


def shown(model: type[Entity]) -> list[Field]:
    """The table's own columns, without those that were reverted (docs/mechanic.md)."""
    table = model._meta.db_table
    gone = hiding.hidden()
    return [field for field in own_fields(model) if f"{table}.{field.name}" not in gone]


def cells(model: type[Entity]) -> list[str | Cell]:
    """Short columns in the order of the file; long texts, lists and ids are for the row's own page."""
    name = naming_field(model)
    short = [field for field in shown(model) if field.name != name and not _is_long(field)]
    return [cell(field) for field in short[:SHOWN]]


def cell(field: Field) -> str | Cell:
    if field.choices:
        return _chosen(field)
    if isinstance(field, models.ForeignKey):
        return _linked(field)
    if isinstance(field, models.CharField):
        return _text(field)
    return field.name


def filters(model: type[Entity]) -> list[Any]:
    """Everything with few values, and every link."""
    found: list[Any] = []
    for field in shown(model):
        if field.choices:
            found.append((field.name, ChoicesDropdownFilter))
        elif isinstance(field, models.BooleanField):
            found.append((field.name, BooleanFilter))
        elif isinstance(field, models.ForeignKey):
            found.append((field.name, AutocompleteFilter))
        elif isinstance(field, models.DateField):
            found.append((field.name, DateRange))
    return found


def searched(model: type[Entity]) -> list[str]:
    """Short texts: the long ones are for the search page."""
    return [field.name for field in shown(model) if type(field) is models.CharField and not field.choices]


def linked(model: type[Entity]) -> list[str]:
    return [field.name for field in shown(model) if isinstance(field, models.ForeignKey)]


def editable(model: type[Entity]) -> list[str]:
    return [field.name for field in shown(model) if field.editable and field.column not in SAID]


def is_list(field: Field) -> bool:
    return isinstance(field, models.JSONField) and field.default is list


def _is_long(field: Field) -> bool:
    kinds = (models.TextField, models.JSONField, models.UUIDField, models.BinaryField)
    return isinstance(field, kinds) and not field.choices


def _chosen(field: Field) -> Cell:
    @display(description=field.verbose_name)
    def chosen(row: Any) -> str:
        labels = dict(field.flatchoices)
        value = getattr(row, field.name)
        return plain(str(labels.get(value, "–" if value is None else value)))

    return chosen


def _text(field: Field) -> Cell:
    @display(description=field.verbose_name)
    def text(row: Any) -> str:
        return shortened(getattr(row, field.name))

    return text


def _linked(field: models.ForeignKey[Any, Any]) -> Cell:
    @display(description=field.verbose_name)
    def link(row: Any) -> str | SafeString:
        there = getattr(row, field.name)
        return link_to(there) if isinstance(there, Entity) else shortened(there)

    return link


def link_to(row: Entity) -> SafeString:
    return format_html('<a class="place" href="{}"><bdi>{}</bdi></a>', page_of(type(row), row.pk), shortened(str(row)))


def page_of(model: type[Entity], pk: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_change", args=[pk])


def shortened(value: Any, most: int = WIDEST) -> str:
    text = plain("–" if value is None else str(value))
    return text if len(text) <= most else f"{text[: most - 1]}…"


class LinesField(forms.Field):
    """A list of texts, one a line; a list of anything else as JSON."""

    def prepare_value(self, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        text = "\n".join(item if isinstance(item, str) else "[" for item in value)
        return json.dumps(value, ensure_ascii=False) if self.has_changed(value, text) else text

    def to_python(self, value: Any) -> list[Any]:
        text = str(value or "").strip()
        if not text.startswith("["):
            return [line.strip() for line in text.splitlines() if line.strip()]
        try:
            parsed: list[Any] = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValidationError(_("One item a line, or a list in JSON.")) from error
        return parsed

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool((initial or []) != self.to_python(data))
        except ValidationError:
            return True
