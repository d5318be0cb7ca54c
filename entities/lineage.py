"""Where values come from: what is on record of a row, the newest first, and the row as the record tells it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from entities import loader
from entities.base import Entity
from entities.models import EntityChange


def of(entity: Entity) -> QuerySet[EntityChange]:
    """Every value ever written to the row."""
    return of_row(loader.type_of(type(entity)), entity.pk)


def of_row(entity_type: str, entity_id: UUID) -> QuerySet[EntityChange]:
    return EntityChange.objects.filter(entity_type=entity_type, entity_id=entity_id).order_by("-id")


def replay(entity: Entity) -> dict[str, Any]:
    """The row as its lineage tells it, by column; a column nobody ever wrote is not in it."""
    return {change.field: change.value for change in reversed(of(entity))}


def latest(entity: Entity) -> dict[str, EntityChange]:
    """Who wrote the value that stands, by column."""
    return {change.field: change for change in of(entity).order_by("field", "-id").distinct("field")}
