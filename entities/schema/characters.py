"""Who plays a part."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from config.columns import is_json_array
from entities.base import Entity


class Character(Entity):
    """A person of a story, real or made up."""

    name = models.CharField(_("name"), max_length=200)
    role = models.CharField(_("role"), max_length=100, null=True, blank=True)
    age = models.PositiveIntegerField(_("age"), null=True, blank=True)
    backstory = models.TextField(_("backstory"), null=True, blank=True)
    traits = models.JSONField(_("traits"), default=list, db_default=[], blank=True)
    project = models.ForeignKey(
        "entities.Project",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="characters",
        verbose_name=_("project"),
    )

    class Meta:
        db_table = "characters"
        verbose_name = _("character")
        verbose_name_plural = pgettext_lazy("of a story", "characters")  # and not of a text
        constraints = [
            models.CheckConstraint(condition=~Q(name=""), name="characters_named"),  # a row without a name is not found
            models.CheckConstraint(condition=is_json_array("traits"), name="characters_traits_list"),
        ]
