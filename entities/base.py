"""What every table of `entities/schema/` has in common, and the shape of a file there.

A file is one table and is called like it. `entities/loader.py` imports whatever lies there and says which file breaks
a rule; nothing else has to be told of it: admin, search, lineage and row rights follow (docs/entities.md).

    \"\"\"Places where something happens.\"\"\"                       what staff read above the list

    from __future__ import annotations                            always, then Django, `config.columns` and this module;
                                                                  a file imports no other file of the folder
    from django.db import models
    from django.db.models import Q
    from django.utils.translation import gettext_lazy as _

    from config.columns import is_json_array
    from entities.base import Entity


    class Climate(models.TextChoices):                            a closed set of values, if there is one
        MILD = "mild", _("mild")


    class Place(Entity):                                          one model, a singular noun
        \"\"\"A place; several characters may live there.\"\"\"

        name = models.CharField(_("name"), max_length=200)        the first column that holds text names the row
        note = models.TextField(_("note"), null=True, blank=True)
        climate = models.CharField(_("climate"), max_length=20, choices=Climate, db_default=Climate.MILD)
        tags = models.JSONField(_("tags"), default=list, db_default=[], blank=True)
        project = models.ForeignKey(                              a link to another table, by its label
            "entities.Project", models.SET_NULL, null=True, blank=True, related_name="places", verbose_name=_("project")
        )

        class Meta:
            db_table = "places"                                   the name of the file
            verbose_name = _("place")
            verbose_name_plural = _("places")
            constraints = [                                       each with a line on the rule it holds
                models.CheckConstraint(condition=~Q(name=""), name="places_named"),
                models.CheckConstraint(condition=Q(climate__in=Climate.values), name="places_climate_known"),
                models.CheckConstraint(condition=is_json_array("tags"), name="places_tags_list"),
            ]
            indexes = [                                           each with a line on the query it serves
                models.Index(fields=["climate"], name="places_climate"),
            ]

A column is required (only in a new table), nullable (`null=True, blank=True`; of text, too: SQL clients know an absent
text as NULL), or has a default in the database (`db_default`, with an equal `default`). Constraints and indexes are
named `<table>_<what>`. Links are `SET_NULL` and never `CASCADE`: one row's end is not another's. A label is `_("...")`
where the catalogue has it; a plain string or none at all is looked up in the catalogue, too, and shown as it stands
where it is not there.
"""

from __future__ import annotations

from typing import Any, TypeVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from config.columns import clock, new_id
from config.text import plain

BASE_FIELDS = ("id", "created_at", "updated_at", "is_deleted", "created_by")

E = TypeVar("E", bound="Entity")


class EntityQuerySet(models.QuerySet[E]):
    """Questions asked of every table."""

    def live(self) -> EntityQuerySet[E]:
        """What is not deleted."""
        return self.filter(is_deleted=False)

    def deleted(self) -> EntityQuerySet[E]:
        """What can be restored."""
        return self.filter(is_deleted=True)

    def of_user(self, user_id: int) -> EntityQuerySet[E]:
        """What this end user owns; row-level security asks the same."""
        return self.filter(created_by=user_id)


_Asked = models.Manager.from_queryset(EntityQuerySet)


class EntityManager(_Asked[E]):
    """The same questions asked of a model; a class of its own, which type checkers find from every file."""


class Entity(models.Model):
    """The base fields. Nobody deletes a row: `is_deleted` hides it, and can be taken back."""

    id = models.UUIDField(primary_key=True, editable=False, db_default=new_id())
    created_at = models.DateTimeField(_("created"), db_default=clock(), editable=False)
    updated_at = models.DateTimeField(_("updated"), db_default=clock(), editable=False)  # a trigger moves it
    is_deleted = models.BooleanField(_("deleted"), db_default=False, default=False, editable=False)
    created_by = models.BigIntegerField(_("user"), null=True, blank=True, db_index=True)  # whose it is; row rights

    objects = EntityManager()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        name = naming_field(type(self))
        return plain(str(getattr(self, name) or self.pk) if name else str(self.pk))


def naming_field(model: type[Entity]) -> str | None:
    """The column a row is called by: the first that holds text and is no choice."""
    for field in own_fields(model):
        if isinstance(field, models.CharField | models.TextField) and not field.choices:
            return field.name
    return None


def own_fields(model: type[Entity]) -> list[models.Field[Any, Any]]:
    """The columns the file declares, in its order."""
    return [field for field in model._meta.concrete_fields if field.name not in BASE_FIELDS]
