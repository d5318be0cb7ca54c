"""A change of the tables: asked for, planned, rehearsed, approved, applied."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from config.columns import clock, is_json_object, new_id


class State(models.TextChoices):
    """Where a change stands."""

    PROPOSED = "proposed", _("proposed")
    PLANNED = "planned", _("planned")
    REHEARSED = "rehearsed", _("rehearsed")
    APPROVED = "approved", _("approved")
    APPLYING = "applying", _("being applied")
    APPLIED = "applied", _("applied")
    FAILED = "failed", _("failed")
    REJECTED = "rejected", _("rejected")
    REVERTED = "reverted", _("hidden")


class Origin(models.TextChoices):
    """Who asked, and how."""

    FILE = "file", _("file")
    FORM = "form", _("form")
    AGENT = "agent", _("agent")


class SchemaChange(models.Model):
    """`entities.mechanic.changes` writes it; nobody else does."""

    id = models.UUIDField(primary_key=True, editable=False, db_default=new_id())
    title = models.CharField(_("title"), max_length=100)
    document = models.JSONField(_("document"))
    origin = models.CharField(_("asked by"), max_length=10, choices=Origin)
    proposed_by = models.CharField(_("by"), max_length=100)
    state = models.CharField(_("state"), max_length=10, choices=State, db_default=State.PROPOSED)
    files = models.JSONField(_("files"), db_default={}, default=dict)  # path: {before, after}
    diff = models.TextField(_("difference"), db_default="", default="")
    sql = models.TextField(_("SQL"), db_default="", default="")
    rehearsal = models.JSONField(_("rehearsal"), db_default={}, default=dict)
    approved_by = models.CharField(_("approved by"), max_length=100, db_default="", default="")
    step = models.CharField(_("step"), max_length=50, db_default="", default="")
    error = models.TextField(_("error"), db_default="", default="")
    notes = models.TextField(_("remarks"), db_default="", default="")
    generation = models.BigIntegerField(_("generation"), null=True)  # processes that began before it are outdated
    created_at = models.DateTimeField(_("created"), db_default=clock(), editable=False)
    updated_at = models.DateTimeField(_("updated"), db_default=clock(), editable=False)
    applied_at = models.DateTimeField(_("applied"), null=True)

    class Meta:
        db_table = "schema_changes"
        verbose_name = _("schema change")
        verbose_name_plural = _("schema changes")
        permissions = [("approve_schemachange", "Can approve and apply changes of the tables")]
        constraints = [
            models.CheckConstraint(condition=Q(state__in=State.values), name="schema_changes_state_known"),
            models.CheckConstraint(condition=Q(origin__in=Origin.values), name="schema_changes_origin_known"),
            models.CheckConstraint(condition=is_json_object("document"), name="schema_changes_document_object"),
            models.CheckConstraint(
                condition=~Q(state__in=["approved", "applying", "applied", "reverted"]) | ~Q(approved_by=""),
                name="schema_changes_somebody_approved",
            ),
            models.CheckConstraint(
                condition=~Q(state__in=["applied", "reverted"]) | Q(generation__isnull=False),
                name="schema_changes_applied_has_generation",
            ),
            # Two at once would write the same migration number.
            models.UniqueConstraint(fields=["state"], condition=Q(state="applying"), name="schema_changes_one_applies"),
        ]
        indexes = [
            models.Index(fields=["state", "-id"], name="schema_changes_state"),  # the staff list
        ]

    def __str__(self) -> str:
        return self.title
