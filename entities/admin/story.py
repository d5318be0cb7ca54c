"""The lineage of a row as its page tells it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import models
from django.db.models import QuerySet
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from config import places
from config.text import Piece, pieces, plain
from entities import lineage
from entities.admin.columns import SAID
from entities.base import Entity
from entities.models import Action, EntityChange, Writer

PAGE = 30  # changes
LONGEST = 600  # characters of a value


@dataclass(frozen=True, slots=True)
class Told:
    """One value that was written."""

    change: EntityChange
    label: str
    before: list[Piece]
    after: list[Piece]
    who: str
    stands: bool  # nobody wrote over it since
    sentence: str  # where it was said
    turn: str
    may_be_put_back: bool


@dataclass(frozen=True, slots=True)
class Lineage:
    """A page of it, newest first."""

    told: list[Told]
    older: UUID | None
    sentence: str
    turn: str
    conversation: str


def read(entity: Entity, before: UUID | None = None) -> Lineage:
    """The newest changes, or those before one."""
    rows = telling(lineage.of(entity))
    if before is not None:
        rows = rows.filter(pk__lt=before)
    changes = list(rows[: PAGE + 1])
    names = Names(type(entity), changes)
    standing = {change.pk for change in lineage.latest(entity).values()}
    return Lineage(
        [_told(change, names, change.pk in standing) for change in changes[:PAGE]],
        changes[PAGE - 1].pk if len(changes) > PAGE else None,
        *(places.page_of(kind, getattr(entity, f"{kind}_id", None)) for kind in ("message", "turn", "conversation")),
    )


def telling(changes: QuerySet[EntityChange]) -> QuerySet[EntityChange]:
    """Without what every row begins with: undeleted, and from a conversation that the page links to."""
    return changes.exclude(action=Action.CREATE, field__in=["is_deleted", *SAID])


def _told(change: EntityChange, names: Names, stands: bool) -> Told:
    field = names.fields.get(change.field)
    first = change.action == Action.CREATE
    return Told(
        change,
        capfirst(str(field.verbose_name)) if field is not None else change.field,
        [] if first else pieces(names.shown(change.field, change.previous)),
        pieces(names.shown(change.field, change.value)),
        who(change),
        stands,
        places.page_of("message", change.message_id),
        places.page_of("turn", change.turn_id),
        not (first or change.erased) and field is not None,
    )


def who(change: EntityChange) -> str:
    """The writer in words."""
    parts = [str(Writer(change.kind).label), plain(change.actor)]
    if change.agent_version is not None:
        parts.append(_("version %(number)d") % {"number": change.agent_version})
    if change.user_id is not None:
        parts.append(_("for user %(number)s") % {"number": change.user_id})
    return " · ".join(parts)


class Names:
    """Values as staff know them: a link by the name of its row, a choice by its label."""

    def __init__(self, model: type[Entity], changes: list[EntityChange]) -> None:
        self.fields: dict[str, Any] = {str(field.column): field for field in model._meta.concrete_fields}
        self.rows: dict[str, dict[str, str]] = {}
        for column in {change.field for change in changes}:
            field = self.fields.get(column)
            if isinstance(field, models.ForeignKey):
                ids = {value for one in changes if one.field == column for value in (one.previous, one.value) if value}
                there: Any = field.related_model
                self.rows[column] = {str(pk): str(row) for pk, row in there._default_manager.in_bulk(ids).items()}

    def shown(self, column: str, value: Any) -> str:
        if isinstance(value, str):
            value = self.rows.get(column, {}).get(value, value)
        return words(self.fields.get(column), value)


def words(field: Any, value: Any, longest: int = LONGEST) -> str:
    """A value in JSON as people read it."""
    match value:
        case None:
            text = "–"
        case bool():
            text = _("yes") if value else _("no")
        case str():
            text = str(dict(field.flatchoices).get(value, value)) if field is not None and field.choices else value
        case list() if all(isinstance(item, str) for item in value):
            text = ", ".join(value)
        case _:
            text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def label(model: type[Entity] | None, column: str) -> str:
    """A column as forms call it."""
    field = next((one for one in model._meta.concrete_fields if one.column == column), None) if model else None
    return capfirst(str(field.verbose_name)) if field is not None else column
