"""One call of a tool: what was asked, what came of it, and who allowed it."""

from __future__ import annotations

from datetime import timedelta

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from config.columns import clock, is_json_object, new_id

LONGEST_RUN = timedelta(seconds=90)  # the longest timeout of a tool, and half as long again


class CallStatus(models.TextChoices):
    """What came of a call."""

    STARTED = "started", _("runs")
    UNKNOWN = "unknown", _("not known whether it happened")
    DONE = "done", _("done")
    FAILED = "failed", _("failed")
    REFUSED = "refused", _("refused")
    WAITING = "waiting", _("waits for approval")
    APPROVED = "approved", _("approved, not done yet")
    DENIED = "denied", _("denied by staff")


class ToolCallQuerySet(models.QuerySet["ToolCall"]):
    """Questions asked of calls."""

    def overrun(self) -> ToolCallQuerySet:
        """Calls to other servers whose end nobody recorded: the worker died, or the database was away."""
        return self.filter(status=CallStatus.STARTED, updated_at__lt=clock() - LONGEST_RUN)

    def waiting(self) -> ToolCallQuerySet:
        """Those staff should decide on."""
        return self.filter(status=CallStatus.WAITING)


class ToolCall(models.Model):
    """Written by `agents.calls` in the transaction of the effect, so that one does not exist without the other."""

    id = models.UUIDField(primary_key=True, editable=False, db_default=new_id())
    turn_id = models.UUIDField(_("turn"))
    number = models.IntegerField(_("number in the turn"))
    conversation_id = models.UUIDField(_("conversation"))
    message_id = models.UUIDField(_("message"), null=True)  # what was said that it goes back to
    user_id = models.BigIntegerField(_("user"))  # whose rights it has
    agent = models.CharField(_("agent"), max_length=100, blank=True, db_default="", default="")
    agent_version = models.IntegerField(_("agent version"), null=True)
    tool = models.CharField(_("tool"), max_length=100)  # as the model named it, existing or not
    arguments = models.JSONField(_("arguments"))
    status = models.CharField(_("status"), max_length=10, choices=CallStatus)
    result = models.TextField(_("result"), blank=True, db_default="", default="")
    milliseconds = models.IntegerField(_("took, ms"), null=True)
    decided_by = models.CharField(_("decided by"), max_length=150, blank=True, db_default="", default="")
    decided_at = models.DateTimeField(_("decided"), null=True)
    created_at = models.DateTimeField(_("asked"), db_default=clock(), editable=False)
    updated_at = models.DateTimeField(_("updated"), db_default=clock(), editable=False)

    objects = ToolCallQuerySet.as_manager()

    class Meta:
        db_table = "tool_calls"
        verbose_name = _("tool call")
        verbose_name_plural = _("tool calls")
        constraints = [
            models.UniqueConstraint(  # a call happens once, however often its turn is run
                fields=["turn_id", "number"], name="tool_calls_once"
            ),
            models.CheckConstraint(condition=Q(status__in=CallStatus.values), name="tool_calls_status_known"),
            models.CheckConstraint(condition=is_json_object("arguments"), name="tool_calls_arguments_object"),
            models.CheckConstraint(  # nobody's approval is an approval
                condition=~Q(status__in=["approved", "denied"]) | (~Q(decided_by="") & Q(decided_at__isnull=False)),
                name="tool_calls_decision_signed",
            ),
        ]
        indexes = [
            models.Index(fields=["status"], condition=Q(status__in=["waiting", "approved"]), name="tool_calls_open"),
            models.Index(
                fields=["status"], condition=Q(status__in=["started", "unknown"]), name="tool_calls_unsettled"
            ),
            models.Index(fields=["conversation_id"], name="tool_calls_of_conversation"),  # erasure
        ]

    def __str__(self) -> str:
        return f"{self.tool} #{self.number}"
