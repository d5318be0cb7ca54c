"""What an agent was configured with, once and for ever."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from agents.models.agent import Agent
from config.columns import clock, is_json_object, new_id


class Origin(models.TextChoices):
    """Where a version came from."""

    FILE = "file", _("config file")
    STAFF = "staff", _("staff")


class AgentVersion(models.Model):
    """One configuration of an agent; a trigger refuses any change, so a message's version can always be looked up."""

    id = models.UUIDField(primary_key=True, editable=False, db_default=new_id())
    agent = models.ForeignKey(  # the database's own foreign key is in migration 0002
        Agent, models.DO_NOTHING, related_name="versions", db_index=False, db_constraint=False
    )
    version = models.IntegerField(_("version"))
    config = models.JSONField(_("configuration"))
    origin = models.CharField(_("origin"), max_length=10, choices=Origin, db_default=Origin.STAFF)
    created_by = models.TextField(_("created by"))
    created_at = models.DateTimeField(_("created"), db_default=clock(), editable=False)
    updated_at = models.DateTimeField(_("updated"), db_default=clock(), editable=False)

    class Meta:
        db_table = "agent_versions"
        verbose_name = _("version of an agent")
        verbose_name_plural = _("versions of agents")
        constraints = [
            models.UniqueConstraint(  # one configuration per number; finds the one a message names
                fields=["agent", "version"], name="agent_versions_one_per_number"
            ),
            models.CheckConstraint(condition=Q(version__gte=1), name="agent_versions_from_one"),
            models.CheckConstraint(condition=Q(origin__in=Origin.values), name="agent_versions_origin_known"),
            models.CheckConstraint(condition=is_json_object("config"), name="agent_versions_config_object"),
        ]

    def __str__(self) -> str:
        return str(self.version)
