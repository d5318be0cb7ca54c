"""What is being worked on; characters, ideas and notes belong to it."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from entities.base import Entity


class ProjectStatus(models.TextChoices):
    """How far it is."""

    PLANNED = "planned", _("planned")
    ACTIVE = "active", _("active")
    DONE = "done", _("done")
    DROPPED = "dropped", _("dropped")


class Project(Entity):
    """A piece of work with a name."""

    name = models.CharField(_("name"), max_length=200)
    description = models.TextField(_("description"), null=True, blank=True)
    status = models.CharField(
        _("status"), max_length=20, choices=ProjectStatus, db_default="active", default=ProjectStatus.ACTIVE
    )
    deadline = models.DateField(_("deadline"), null=True, blank=True)

    class Meta:
        db_table = "projects"
        verbose_name = _("project")
        verbose_name_plural = _("projects")
        constraints = [
            models.CheckConstraint(condition=~Q(name=""), name="projects_named"),  # a row without a name is not found
            models.CheckConstraint(condition=Q(status__in=ProjectStatus.values), name="projects_status_known"),
        ]
