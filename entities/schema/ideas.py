"""What might become something."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from config.columns import is_json_array
from entities.base import Entity


class IdeaStatus(models.TextChoices):
    """What became of it."""

    NEW = "new", _("new")
    KEPT = "kept", _("kept for later")
    USED = "used", _("used")
    REJECTED = "rejected", _("rejected")


class Idea(Entity):
    """A thought worth keeping, with or without a project."""

    title = models.CharField(_("title"), max_length=200)
    text = models.TextField(_("text"), null=True, blank=True)
    status = models.CharField(_("status"), max_length=20, choices=IdeaStatus, db_default="new", default=IdeaStatus.NEW)
    tags = models.JSONField(_("tags"), default=list, db_default=[], blank=True)
    project = models.ForeignKey(
        "entities.Project",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="ideas",
        verbose_name=_("project"),
    )

    class Meta:
        db_table = "ideas"
        verbose_name = _("idea")
        verbose_name_plural = _("ideas")
        constraints = [
            models.CheckConstraint(condition=~Q(title=""), name="ideas_named"),  # a row without a name is not found
            models.CheckConstraint(condition=Q(status__in=IdeaStatus.values), name="ideas_status_known"),
            models.CheckConstraint(condition=is_json_array("tags"), name="ideas_tags_list"),
        ]
