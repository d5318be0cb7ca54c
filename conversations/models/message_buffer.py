"""An open burst: what a person has written and nobody has answered yet."""

from __future__ import annotations

from datetime import timedelta

from django.db import models
from django.db.models import F, Q, Value
from django.utils.translation import gettext_lazy as _

from config.columns import clock, new_id
from conversations.models.conversation import Conversation


class MessageBufferQuerySet(models.QuerySet["MessageBuffer"]):
    """Questions asked of buffers."""

    def due(self, *, late_by: timedelta = timedelta()) -> MessageBufferQuerySet:
        """Those whose quiet time has been over for so long, by the database's clock."""
        return self.filter(flush_at__lte=clock() - Value(late_by, output_field=models.DurationField()))


class MessageBuffer(models.Model):
    """The row exists only while a burst is open; sealing it into a turn takes it away in the same transaction.

    `messages` are `{message_id, message_index, content, at, question_context, edits}`, in order. `carries` is a turn
    whose draft became stale because this burst began before it was sent: its messages are answered with these.
    """

    id = models.UUIDField(primary_key=True, editable=False, db_default=new_id())
    conversation = models.ForeignKey(  # the database's own foreign key cascades, see migration 0005
        Conversation, models.DO_NOTHING, related_name="buffers", db_index=False, db_constraint=False
    )
    user_id = models.CharField(_("user"), max_length=100)
    interview_step = models.IntegerField(_("interview step"))
    messages = models.JSONField(_("messages"))
    size_bytes = models.IntegerField(_("bytes"))
    flush_id = models.CharField(_("flush id"), max_length=200)
    flush_at = models.DateTimeField(_("to be answered at"))
    deadline = models.DateTimeField(_("at the latest"))
    extended_by_typing = models.IntegerField(_("extended by typing"), db_default=0, default=0)
    carries = models.UUIDField(_("carries turn"), null=True)
    last_updated_at = models.DateTimeField(_("last message"), db_default=clock())
    created_at = models.DateTimeField(_("opened"), db_default=clock(), editable=False)
    updated_at = models.DateTimeField(_("updated"), db_default=clock(), editable=False)

    objects = MessageBufferQuerySet.as_manager()

    class Meta:
        db_table = "message_buffers"
        verbose_name = _("open burst")
        verbose_name_plural = _("open bursts")
        constraints = [
            models.UniqueConstraint(  # one open burst per step; finds it for every message, keystroke and flush
                fields=["conversation", "interview_step"], name="message_buffers_one_per_step"
            ),
            models.CheckConstraint(  # nothing may wait beyond its deadline
                condition=Q(flush_at__lte=F("deadline")), name="message_buffers_deadline_holds"
            ),
        ]
        indexes = [
            models.Index(fields=["flush_at"], name="message_buffers_due"),  # sweep: which are overdue?
        ]

    def __str__(self) -> str:
        return self.flush_id
