"""Who answers: a name, the file it comes from, and which of its versions speaks."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from config.columns import clock, new_id


class Kind(models.TextChoices):
    """How the agent goes about it."""

    INTERVIEW = "interview", _("interview")
    CHAT = "chat", _("chat")


class AgentQuerySet(models.QuerySet["Agent"]):
    """Questions asked of agents."""

    def active(self) -> AgentQuerySet:
        """Those that take new conversations."""
        return self.filter(is_active=True, active_version__isnull=False)


class Agent(models.Model):
    """A registered agent. `version` counts its versions, `active_version` is the one that speaks.

    `agents.registry` writes it; what a version says never changes (see AgentVersion).
    """

    id = models.UUIDField(primary_key=True, editable=False, db_default=new_id())
    name = models.CharField(_("name"), max_length=100, unique=True)
    description = models.TextField(_("description"), blank=True, db_default="", default="")
    kind = models.CharField(_("kind"), max_length=10, choices=Kind, db_default=Kind.CHAT, default=Kind.CHAT)
    config_path = models.TextField(_("config file"), unique=True)
    is_active = models.BooleanField(_("takes new conversations"), db_default=True, default=True)
    version = models.IntegerField(_("versions"), db_default=1, default=1, editable=False)
    active_version = models.IntegerField(_("active version"), null=True, editable=False)
    created_at = models.DateTimeField(_("created"), db_default=clock(), editable=False)
    updated_at = models.DateTimeField(_("updated"), db_default=clock(), editable=False)
    created_by = models.TextField(_("created by"), db_default="system", default="system", editable=False)

    objects = AgentQuerySet.as_manager()

    class Meta:
        db_table = "agents"
        verbose_name = _("agent")
        verbose_name_plural = _("agents")
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(  # a name is typed in commands and URLs
                condition=Q(name__regex=r"^[a-z][a-z0-9_-]{0,99}$"), name="agents_name_plain"
            ),
            models.CheckConstraint(  # a file inside the agents' folder: no dot but the last, so no way out of it
                condition=Q(config_path__regex=r"^[a-z0-9][a-z0-9_-]*(/[a-z0-9][a-z0-9_-]*)*\.toml$"),
                name="agents_config_path_inside",
            ),
            models.CheckConstraint(condition=Q(kind__in=Kind.values), name="agents_kind_known"),
            models.CheckConstraint(  # the active version is one of those counted; that it exists, a foreign key says
                condition=Q(version__gte=1) & (Q(active_version__isnull=True) | Q(active_version__lte=F("version"))),
                name="agents_versions_counted",
            ),
        ]

    def __str__(self) -> str:
        return self.name
