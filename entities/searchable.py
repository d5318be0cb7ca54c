"""What is found of a table: every text in it, in the order of the file. Declared for whatever tables there are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db import models
from django.urls import reverse

from entities import loader
from entities.base import Entity, own_fields
from search.declarations import Searchable, declare
from search.results import Hit

LONGEST_TITLE = 200


def declare_all() -> None:
    """Also finds what lies in the folder since: a table needs no line of its own."""
    for model in loader.models():
        declare(_searchable(model))


def _searchable(model: type[Entity]) -> Searchable:
    return Searchable(
        entity_type=loader.type_of(model),
        model=model._meta.label,
        label=model._meta.verbose_name_plural,
        text=lambda row: "\n".join(_texts(row)),
        user=lambda row: row.created_by,
        metadata=_metadata,
        deleted=lambda row: row.is_deleted,
        link=_link,
        watch=(*(str(field.column) for field in own_fields(model)), "created_by", "is_deleted"),
    )


def _texts(row: Entity) -> Iterator[str]:
    """Texts, and the words a list holds; no ids, no numbers, no choices: those are filtered by."""
    for field in own_fields(type(row)):
        value = getattr(row, field.attname)
        if isinstance(field, models.CharField | models.TextField) and not field.choices and value:
            yield str(value)
        elif isinstance(field, models.JSONField):
            yield from _words(value)


def _words(value: Any) -> Iterator[str]:
    match value:
        case str() if value.strip():
            yield value
        case list():
            for item in value:
                yield from _words(item)
        case dict():
            yield from _words(list(value.values()))


def _metadata(row: Entity) -> dict[str, Any]:
    """What to filter by: choices, links, the conversation it came from; and what to call it."""
    found: dict[str, Any] = {"title": str(row)[:LONGEST_TITLE]}
    for field in own_fields(type(row)):
        value = getattr(row, field.attname)
        if value is None:
            continue
        if field.choices or isinstance(field, models.BooleanField):
            found[field.name] = value
        elif isinstance(field, models.ForeignKey | models.UUIDField):
            found[str(field.column)] = str(value)
    return found


def _link(hit: Hit) -> str:
    return reverse(f"admin:entities_{hit.entity_type}_change", args=[hit.entity_id])
