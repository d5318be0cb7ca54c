"""What can be found: each room declares its models once, and search knows nothing else of them.

    declare(Searchable(
        entity_type="note", model="entities.Note", label=_("notes"),
        text=lambda note: f"{note.title}\n{note.body}", user=lambda note: note.created_by,
        metadata=lambda note: {"project": str(note.project_id)}, deleted=lambda note: note.is_deleted,
        link=lambda hit: reverse("admin:entities_note_change", args=[hit.entity_id]),
        watch=("title", "body", "project_id", "created_by", "is_deleted"),
    ))

Declared in `AppConfig.ready` (or later, by whoever makes a table); the model's primary key is a UUID column `id`. After
the next `migrate` its table is watched by triggers, so that rows written by any client are found.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.apps import apps
from django.core import checks
from django.db.models import Model, UUIDField

if TYPE_CHECKING:
    from search.results import Hit

NAME = re.compile(r"[a-z][a-z0-9_]{0,49}")


def no_link(_hit: Hit) -> str:
    """Nowhere to go from this."""
    return ""


def created_at(row: Any) -> datetime | None:
    """When most things came to be."""
    at: datetime | None = getattr(row, "created_at", None)
    return at


def never(_row: Any) -> bool:
    """Nothing of this model is ever soft-deleted."""
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Searchable:
    """How rows of one model become entries of the index."""

    entity_type: str  # "message", "character": unique, at most 50 small letters, digits, underscores
    model: str  # "conversations.Message"
    label: Any  # what staff call them, plural, lazily translated
    text: Callable[[Any], str]  # row -> what is found; "" = nothing to find here
    user: Callable[[Any], int | None]  # row -> whose it is; row-level security goes by it
    metadata: Callable[[Any], dict[str, Any]]  # row -> small scalars to filter by: role, agent, conversation_id, ...
    deleted: Callable[[Any], bool] = never
    at: Callable[[Any], datetime | None] = created_at  # row -> the time filters and ties go by
    link: Callable[[Hit], str] = no_link  # hit -> its page in the admin
    watch: tuple[str, ...] = ()  # columns whose UPDATE matters to the index; empty = any
    load: Callable[[Sequence[UUID]], Iterable[Any]] | None = None  # rows of these ids with all the above needs
    rows: Callable[[], Any] | None = None  # the queryset of all that can be indexed; default: all of the model

    @property
    def source(self) -> type[Model]:
        return apps.get_model(self.model)

    @property
    def table(self) -> str:
        return self.source._meta.db_table

    def queryset(self) -> Any:
        """Everything that may be indexed, for `reindex`."""
        return self.rows() if self.rows is not None else self.source._default_manager.all()

    def fetch(self, ids: Sequence[UUID]) -> Iterable[Any]:
        """The rows of these ids that still exist."""
        return self.load(ids) if self.load is not None else self.queryset().filter(pk__in=ids)


_DECLARED: dict[str, Searchable] = {}


def declare(searchable: Searchable) -> None:
    """Let rows of this model be found; declaring the same model again replaces its declaration."""
    if not NAME.fullmatch(searchable.entity_type):
        raise ValueError(f"{searchable.entity_type!r}: small letters, digits and underscores, at most 50.")
    known = _DECLARED.get(searchable.entity_type)
    if known and known.model != searchable.model:
        raise ValueError(f"{searchable.entity_type} already names rows of {known.model}.")
    _DECLARED[searchable.entity_type] = searchable


def withdraw(entity_type: str) -> None:
    """Forget a declaration: its entries stay until `reindex` finds that nobody declares them."""
    _DECLARED.pop(entity_type, None)


def declared() -> dict[str, Searchable]:
    """Every declaration by entity type, in the order of their making."""
    return dict(_DECLARED)


@checks.register()
def keys_are_uuids(**_options: Any) -> list[checks.CheckMessage]:
    """Whatever is found is known by a UUID: a trigger of another key would fail with the first row."""
    return [
        checks.Error(
            f"Rows of {one.model} cannot be found: their key {one.source._meta.pk.name} is no UUID.",
            hint="Declare the key as in entities.base: id = models.UUIDField(primary_key=True, db_default=new_id()).",
            obj=one.source,
            id="parley.E011",
        )
        for one in declared().values()
        if not (isinstance(one.source._meta.pk, UUIDField) and one.source._meta.pk.column == "id")
    ]
