"""What goes with a conversation, or with a person: rows that came of it, and values that it wrote into others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any
from uuid import UUID

from django.db import connection, models

from agents.forgetting import HERE, OF_PERSON, Gone
from config import origin
from config.origin import Origin
from entities import keeping, loader
from entities.base import Entity
from entities.models import Action, EntityChange, Writer

TALK = "conversation_id"
NOTHING = models.Value(None, models.JSONField())  # JSON's null, not SQL's


def forget_conversations(ids: Sequence[UUID], _turns: Mapping[UUID, UUID]) -> Gone:
    """Rows an agent made there, or that name it, go with their lineage; its values in other rows are taken back."""
    touched = _touched(ids)
    if not touched:
        return {}
    with _erasing():
        return {id_: _forget(id_) for id_ in touched}


def _touched(ids: Sequence[UUID]) -> list[UUID]:
    """Those that left anything here; of many conversations few do."""
    found: set[UUID | None] = set()
    found |= set(EntityChange.objects.filter(conversation_id__in=ids).values_list("conversation_id", flat=True))
    for model in loader.models():
        if _names_conversations(model):
            rows = model._default_manager.filter(**{f"{TALK}__in": ids})
            found |= set(rows.values_list(TALK, flat=True))
    return [id_ for id_ in ids if id_ in found]


def _forget(conversation_id: UUID) -> int:
    gone = sum(_erase(model, _of_conversation(model, conversation_id)) for model in loader.models())
    return gone + _blank(conversation_id)


def forget_person(user_id: int) -> int:
    """Everything the person owns."""
    with _erasing():
        return sum(_erase(model, model._default_manager.filter(created_by=user_id)) for model in loader.models())


def _of_conversation(model: type[Entity], conversation_id: UUID) -> models.QuerySet[Entity]:
    born_there = EntityChange.objects.filter(
        entity_type=loader.type_of(model), action=Action.CREATE, conversation_id=conversation_id
    )
    condition = models.Q(pk__in=born_there.values("entity_id"))
    if _names_conversations(model):
        condition |= models.Q(**{TALK: conversation_id})
    return model._default_manager.filter(condition)


def _names_conversations(model: type[Entity]) -> bool:
    return any(field.column == TALK for field in model._meta.concrete_fields)


def _erase(model: type[Entity], rows: models.QuerySet[Entity]) -> int:
    """The triggers let them go, lineage included; links to them become empty, which is a change of those rows."""
    _gone, by_label = rows.delete()
    return by_label.get(model._meta.label, 0)


def _blank(conversation_id: UUID) -> int:
    """Values from there that other rows hold: the one before stands again, and the lineage keeps who and when alone."""
    places = EntityChange.objects.filter(conversation_id=conversation_id).order_by("entity_type", "entity_id", "field")
    fields = places.values_list("entity_type", "entity_id", "field").distinct()
    return sum(_take_back(EntityChange.objects.filter(**_where(*place)), conversation_id) for place in fields)


def _where(entity_type: str, entity_id: UUID, field: str) -> dict[str, Any]:
    return {"entity_type": entity_type, "entity_id": entity_id, "field": field}


def _take_back(history: models.QuerySet[EntityChange], conversation_id: UUID) -> int:
    """One value of one row: what was said leaves the row first and its history then."""
    changes = list(history.order_by("id"))
    said = _said_there(changes, conversation_id)
    model = loader.model_of(changes[0].entity_type)
    if changes[-1].pk in said and model is not None:
        kept = [change.value for change in changes if change.pk not in said]
        keeping.put(model, changes[-1], kept[-1] if kept else changes[0].previous)
    for earlier, later in pairwise(history.order_by("id")):
        if earlier.pk in said:
            history.filter(pk=later.pk).update(previous=NOTHING)
    history.filter(pk__in=said).update(value=NOTHING, erased=True)
    return len(said)


def _said_there(changes: list[EntityChange], conversation_id: UUID) -> set[UUID]:
    """What the conversation wrote, and whoever wrote the same words after it: a value put back is the same value."""
    said, words = set(), []
    for change in changes:
        if change.conversation_id == conversation_id or change.value in words:
            said.add(change.pk)
            if not isinstance(change.value, bool | None):
                words.append(change.value)
    return said


@contextmanager
def _erasing() -> Iterator[None]:
    """Within the caller's transaction, which says for itself what else it erases."""
    with origin.written_by(Origin(Writer.SYSTEM, "erasure")), connection.cursor() as cursor:
        cursor.execute("SET LOCAL parley.erasing = 'on'")
        yield
        cursor.execute("SET LOCAL parley.erasing = ''")


def register() -> None:
    HERE["entities"] = forget_conversations
    OF_PERSON["entities"] = forget_person
