"""When a channel, and a chat of it, may be sent the next part."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from config.columns import clock, new_id


class DeliveryGate(models.Model):
    """The pace of a chat, or (`chat_id` 0, which no chat has) of everything the channel's bot sends.

    `paused_until` is what the other side asked for, or a pause of our own while it cannot be reached.
    """

    id = models.UUIDField(primary_key=True, editable=False, db_default=new_id())
    channel = models.CharField(_("channel"), max_length=50)
    chat_id = models.BigIntegerField(_("chat"))
    next_at = models.DateTimeField(_("next"), db_default=clock())
    paused_until = models.DateTimeField(_("paused until"), db_default=clock())
    failures = models.IntegerField(_("failures in a row"), db_default=0, default=0)

    class Meta:
        db_table = "delivery_gates"
        verbose_name = _("pace of a channel")
        verbose_name_plural = _("paces of channels")
        constraints = [
            models.UniqueConstraint(fields=["channel", "chat_id"], name="delivery_gates_one_per_chat"),  # finds it
            models.CheckConstraint(condition=Q(failures__gte=0), name="delivery_gates_failures_from_zero"),
        ]

    def __str__(self) -> str:
        return f"{self.channel} {self.chat_id}"
