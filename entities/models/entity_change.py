"""One value that was written: before, after, by whom, and because of which message."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from config.columns import clock, new_id


class Action(models.TextChoices):
    """What happened to the row."""

    CREATE = "create", _("created")
    CHANGE = "change", _("changed")


class Writer(models.TextChoices):
    """Who wrote."""

    STAFF = "staff", pgettext_lazy("a writer", "staff")
    AGENT = "agent", _("agent")
    IMPORT = "import", _("import")
    SYSTEM = "system", _("system")
    SQL = "sql", _("SQL client")


class EntityChange(models.Model):
    """Written by the trigger of every entity table and by nothing else; never changed."""

    id = models.UUIDField(primary_key=True, editable=False, db_default=new_id())
    entity_type = models.CharField(_("kind"), max_length=50)
    entity_id = models.UUIDField(_("row"))
    field = models.CharField(_("field"), max_length=63)  # the name of the column
    previous = models.JSONField(_("before"))
    value = models.JSONField(_("after"))
    action = models.CharField(_("action"), max_length=10, choices=Action)
    kind = models.CharField(_("writer"), max_length=10, choices=Writer)
    actor = models.CharField(_("who"), max_length=150)
    user_id = models.BigIntegerField(_("user"), null=True)  # for whom an agent acted
    agent_version = models.IntegerField(_("agent version"), null=True)
    conversation_id = models.UUIDField(_("conversation"), null=True)
    turn_id = models.UUIDField(_("turn"), null=True)
    message_id = models.UUIDField(_("message"), null=True)
    reverts = models.UUIDField(_("takes back"), null=True)
    erased = models.BooleanField(_("erased"), db_default=False, default=False)  # its values went with a conversation
    created_at = models.DateTimeField(_("time"), db_default=clock(), editable=False)

    class Meta:
        db_table = "entity_changes"
        verbose_name = _("change of a value")
        verbose_name_plural = _("changes of values")
        constraints = [
            models.CheckConstraint(condition=Q(action__in=Action.values), name="entity_changes_action_known"),
            models.CheckConstraint(condition=Q(kind__in=Writer.values), name="entity_changes_writer_known"),
            models.CheckConstraint(condition=~Q(actor=""), name="entity_changes_somebody_did_it"),
        ]
        indexes = [
            models.Index(fields=["entity_type", "entity_id", "-id"], name="entity_changes_of_row"),  # lineage, newest
            models.Index(  # erasure: what came of this conversation?
                fields=["conversation_id"], condition=Q(conversation_id__isnull=False), name="entity_changes_said"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.entity_type} {self.field}"
