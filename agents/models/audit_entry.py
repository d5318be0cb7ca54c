"""One deed on record."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from config.columns import clock, is_json_object, new_id


class Status(models.TextChoices):
    """How the deed ended."""

    SUCCESS = "success", _("done")
    STARTED = "started", _("started")
    FAILURE = "failure", _("failed")
    REFUSED = "refused", _("refused")


class AuditEntry(models.Model):
    """Who did what to what. `agents.audit` inserts it; triggers refuse every change, and chain it at commit."""

    id = models.UUIDField(primary_key=True, editable=False, db_default=new_id())
    action = models.CharField(_("action"), max_length=50)
    actor = models.CharField(_("actor"), max_length=100)
    on_behalf_of = models.CharField(_("on behalf of"), max_length=100, blank=True, db_default="", default="")
    subject_type = models.CharField(_("kind of subject"), max_length=50, blank=True, db_default="", default="")
    subject_id = models.CharField(_("subject"), max_length=200, blank=True, db_default="", default="")
    details = models.JSONField(_("details"), db_default={}, default=dict)
    status = models.CharField(_("status"), max_length=20, choices=Status, db_default=Status.SUCCESS)
    git_commit = models.CharField(_("commit"), max_length=40, null=True)  # noqa: DJ001  as SQL clients know it
    git_branch = models.CharField(_("branch"), max_length=100, null=True)  # noqa: DJ001
    request_id = models.CharField(_("request"), max_length=64, blank=True, db_default="", default="")
    created_at = models.DateTimeField(_("time"), db_default=clock(), editable=False)

    class Meta:
        db_table = "audit_log"
        verbose_name = _("audit entry")
        verbose_name_plural = _("audit log")
        constraints = [
            models.CheckConstraint(condition=Q(status__in=Status.values), name="audit_log_status_known"),
            models.CheckConstraint(
                condition=Q(action__regex=r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$"), name="audit_log_action_plain"
            ),
            models.CheckConstraint(condition=~Q(actor=""), name="audit_log_somebody_did_it"),
            models.CheckConstraint(condition=is_json_object("details"), name="audit_log_details_object"),
            models.CheckConstraint(
                condition=Q(git_commit__isnull=True) | Q(git_commit__regex="^[0-9a-f]{7,40}$"),
                name="audit_log_commit_is_one",
            ),
        ]
        indexes = [
            models.Index(fields=["action", "-id"], name="audit_log_action"),  # the staff list, filtered
            models.Index(fields=["actor", "-id"], name="audit_log_actor"),
            models.Index(fields=["subject_type", "subject_id", "-id"], name="audit_log_subject"),  # what befell this?
            models.Index(fields=["created_at"], name="audit_log_time"),  # between two dates
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.subject_type} {self.subject_id}".strip()

    @property
    def who(self) -> str:
        """The actor, and for whom."""
        return f"{self.actor} on behalf of {self.on_behalf_of}" if self.on_behalf_of else self.actor
