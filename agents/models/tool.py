"""What an agent may do beside talking: a name, the function behind it, and the shape of its arguments."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from agents.models.agent import Agent
from config.columns import clock, is_json_object, new_id


class ToolQuerySet(models.QuerySet["Tool"]):
    """Questions asked of tools."""

    def usable_by(self, agent: Agent) -> ToolQuerySet:
        """Those that are switched on and belong to this agent or to nobody in particular."""
        return self.filter(Q(agent=agent) | Q(agent__isnull=True), is_active=True)


class Tool(models.Model):
    """A registered tool. Which code may be named is decided by the code, never by a row (`agents.allowlist`)."""

    id = models.UUIDField(primary_key=True, editable=False, db_default=new_id())
    name = models.CharField(_("name"), max_length=100, unique=True)
    description = models.TextField(_("description"), blank=True, db_default="", default="")
    module_path = models.TextField(_("module"))
    schema = models.JSONField(_("arguments, as JSON Schema"), db_default={}, default=dict)
    agent = models.ForeignKey(
        Agent, models.PROTECT, null=True, blank=True, related_name="own_tools", verbose_name=_("only for the agent")
    )
    high_impact = models.BooleanField(_("needs the approval of staff"), db_default=False, default=False)
    is_active = models.BooleanField(_("may be called"), db_default=True, default=True)
    created_at = models.DateTimeField(_("created"), db_default=clock(), editable=False)
    updated_at = models.DateTimeField(_("updated"), db_default=clock(), editable=False)

    objects = ToolQuerySet.as_manager()

    class Meta:
        db_table = "tools"
        verbose_name = _("tool")
        verbose_name_plural = _("tools")
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(  # models are told this name, and answer with it
                condition=Q(name__regex=r"^[a-z][a-z0-9_]{0,63}$"), name="tools_name_plain"
            ),
            models.CheckConstraint(  # a dotted path of plain ASCII names; which ones exist, the allowlist says
                condition=Q(module_path__regex=r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$"), name="tools_module_path_plain"
            ),
            models.CheckConstraint(condition=is_json_object("schema"), name="tools_schema_object"),
        ]

    def __str__(self) -> str:
        return self.name
