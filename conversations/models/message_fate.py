"""What became of a message that a person sent."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from config.columns import clock, new_id
from conversations.models.message import Message


class Fate(models.TextChoices):
    """How it ended."""

    ANSWERED = "answered", _("answered by a turn")
    STAFF = "staff", _("left to staff")
    CLEARED = "cleared", _("cleared")
    SKIPPED = "skipped", _("skipped by a rule")
    FAILED = "failed", _("the turn failed")


class MessageFate(models.Model):
    """Every inbound message that no longer waits has exactly one."""

    id = models.UUIDField(primary_key=True, editable=False, db_default=new_id())
    message = models.OneToOneField(  # one fate per message; the database's own foreign key cascades
        Message, models.DO_NOTHING, related_name="fate", db_constraint=False
    )
    fate = models.CharField(_("fate"), max_length=10, choices=Fate)
    turn_id = models.UUIDField(_("turn"), null=True)
    rule = models.CharField(_("rule"), max_length=50, blank=True, db_default="", default="")
    created_at = models.DateTimeField(_("created"), db_default=clock(), editable=False)
    updated_at = models.DateTimeField(_("updated"), db_default=clock(), editable=False)

    class Meta:
        db_table = "message_fates"
        verbose_name = _("fate of a message")
        verbose_name_plural = _("fates of messages")
        constraints = [
            models.CheckConstraint(condition=Q(fate__in=Fate.values), name="message_fates_known"),
            models.CheckConstraint(  # who says answered or failed says by which turn
                condition=~Q(fate__in=["answered", "failed"]) | Q(turn_id__isnull=False), name="message_fates_by_a_turn"
            ),
        ]

    def __str__(self) -> str:
        return self.fate
