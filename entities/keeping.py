"""The verbs of every table: create, change, forget, restore, put a value back.

Each is one transaction with its entry of the record. Where values come from is written by the database itself (ADR
0114), so what goes past these verbs has a lineage, too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar, cast
from uuid import UUID

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import DataError, IntegrityError, connection, transaction
from psycopg import sql

from agents import audit
from agents.text import storable
from config import origin
from config.origin import Origin
from entities import loader
from entities.base import Entity, own_fields
from entities.errors import CannotRevertError, EntityGoneError, EntityInvalidError, NothingBeforeError
from entities.models import Action, EntityChange, Writer

E = TypeVar("E", bound=Entity)
Values = Mapping[str, Any]
OWNER = "created_by"


def create(model: type[E], *, values: Values, by: str) -> E:
    """A new row. `created_by` among the values says whose it is; without it, it is staff's alone."""
    _refuse_unknown(model, values)
    entity = model(**storable(dict(values)))
    _check(entity, list(values))
    with transaction.atomic(), origin.written_by(_origin(by)):
        entity.save(force_insert=True)
        _record("create", entity, by, fields=sorted(values))
    return entity


def change(entity: Entity, *, values: Values, by: str) -> list[str]:
    """Write what differs, and nothing else: two people at two fields of a row do not undo each other."""
    _refuse_unknown(type(entity), values)
    with transaction.atomic():
        row = _locked(type(entity), entity.pk)
        before = {name: getattr(row, name) for name in values}
        for name, value in storable(dict(values)).items():
            setattr(row, name, value)
        _check(row, list(values))
        changed = sorted(name for name in values if getattr(row, name) != before[name])
        if changed:
            with origin.written_by(_origin(by)):
                row.save(update_fields=changed)
                _record("change", row, by, fields=changed)
    entity.refresh_from_db()
    return changed


def forget(entity: Entity, *, by: str) -> bool:
    """Hide the row from everybody but staff who look for it. False where it was hidden before."""
    return _hide(entity, True, by=by)


def restore(entity: Entity, *, by: str) -> bool:
    """Take it back."""
    return _hide(entity, False, by=by)


def revert(change_id: UUID, *, by: str) -> EntityChange:
    """Put back what a field held before this change. That is a change itself, and can be put back in its turn."""
    with transaction.atomic():
        taken_back = EntityChange.objects.filter(pk=change_id, erased=False).first()
        model = loader.model_of(taken_back.entity_type) if taken_back else None
        if taken_back is None or model is None:
            raise EntityGoneError
        if taken_back.action == Action.CREATE:
            raise NothingBeforeError
        entity = _locked(model, taken_back.entity_id)
        with origin.written_by(_origin(by, reverts=taken_back.pk)):
            put(model, taken_back, taken_back.previous)
            _record("revert", entity, by, fields=[taken_back.field], change=str(taken_back.pk))
    return taken_back


def _hide(entity: Entity, hidden: bool, *, by: str) -> bool:
    with transaction.atomic():
        row = _locked(type(entity), entity.pk)
        if row.is_deleted == hidden:
            return False
        row.is_deleted = hidden
        with origin.written_by(_origin(by)):
            row.save(update_fields=["is_deleted"])
            _record("forget" if hidden else "restore", row, by)
    entity.refresh_from_db()
    return True


# PostgreSQL reads the value as it once wrote it: no detour over types of Python.
PUT = """
UPDATE {table}
SET {column} = (jsonb_populate_record(NULL::{table}, jsonb_build_object({name}, %(value)s::jsonb))).{column}
WHERE id = %(row)s
"""


def put(model: type[Entity], where: EntityChange, value: Any) -> None:
    """Write a value that lineage holds back to where it stood."""
    if where.field not in _columns(model):
        raise CannotRevertError
    statement = sql.SQL(PUT).format(
        table=sql.Identifier(model._meta.db_table),
        column=sql.Identifier(where.field),
        name=sql.Literal(where.field),
    )
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement, {"value": json.dumps(value), "row": where.entity_id})
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # a link to a row that is gone is told here
    except (IntegrityError, DataError) as error:
        raise CannotRevertError from error


def _columns(model: type[Entity]) -> set[str]:
    return {str(field.column) for field in own_fields(model)} | {OWNER, "is_deleted"}


def _locked(model: type[E], pk: UUID) -> E:
    row = model._default_manager.select_for_update(no_key=True).filter(pk=pk).first()
    if row is None:
        raise EntityGoneError
    return cast("E", row)


def _origin(by: str, *, reverts: UUID | None = None) -> Origin:
    """Whoever told before us knows more: a tool's call names turn and message."""
    return replace(origin.current() or Origin(Writer.STAFF, by), reverts=reverts)


def _refuse_unknown(model: type[Entity], values: Values) -> None:
    known = {OWNER} | {name for field in own_fields(model) for name in (field.name, field.attname)}
    if unknown := sorted(set(values) - known):
        raise EntityInvalidError({name: [f"{model.__name__} has no such field."] for name in unknown})


def _check(entity: Entity, written: list[str]) -> None:
    """The rules of the model, each with its words; the database holds those that matter whoever writes."""
    fields = entity._meta.concrete_fields
    untouched = {field.name for field in fields if not {field.name, field.attname} & set(written)}
    try:
        entity.full_clean(exclude=untouched if not entity._state.adding else {"id"})
    except ValidationError as error:
        raise EntityInvalidError(
            {"row" if name == NON_FIELD_ERRORS else name: said for name, said in error.message_dict.items()}
        ) from error


def _record(action: str, entity: Entity, by: str, **details: Any) -> None:
    """Names of fields and never their values: the record is for ever."""
    told = origin.current()
    person = f"user {told.user_id}" if told and told.user_id is not None else ""
    audit.record(f"entity.{action}", by, (loader.type_of(type(entity)), entity.pk), details, on_behalf_of=person)
