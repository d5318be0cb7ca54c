"""A part of a message on its way to the person."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from config.columns import clock, new_id
from conversations.models.message import Message


class DeliveryStatus(models.TextChoices):
    """What we know of it; `unknown` is what we honestly do not."""

    PENDING = "pending", _("pending")
    SENDING = "sending", _("sending")
    SENT = "sent", _("sent")
    UNKNOWN = "unknown", _("unknown: the answer was lost")
    FAILED = "failed", _("failed")


class Delivery(models.Model):
    """One outbox row per part. Settling a turn writes it in the same transaction as the reply."""

    id = models.UUIDField(primary_key=True, editable=False, db_default=new_id())
    message = models.ForeignKey(  # the database's own foreign key cascades, see migration 0005
        Message, models.DO_NOTHING, related_name="deliveries", db_index=False, db_constraint=False
    )
    channel = models.CharField(_("channel"), max_length=50)
    part = models.IntegerField(_("part"), db_default=0, default=0)
    status = models.CharField(_("status"), max_length=10, choices=DeliveryStatus, db_default=DeliveryStatus.PENDING)
    attempts = models.IntegerField(_("attempts"), db_default=0, default=0)
    next_attempt_at = models.DateTimeField(_("next attempt"), db_default=clock())
    external_id = models.CharField(_("external id"), max_length=255, blank=True, db_default="", default="")
    error = models.TextField(_("error"), blank=True, db_default="", default="")
    created_at = models.DateTimeField(_("created"), db_default=clock(), editable=False)
    updated_at = models.DateTimeField(_("updated"), db_default=clock(), editable=False)

    class Meta:
        db_table = "deliveries"
        verbose_name = _("delivery")
        verbose_name_plural = _("deliveries")
        constraints = [
            models.UniqueConstraint(  # a part is delivered once; finds the parts of a message
                fields=["message", "part"], name="deliveries_one_per_part"
            ),
            models.CheckConstraint(condition=Q(status__in=DeliveryStatus.values), name="deliveries_status_known"),
        ]
        indexes = [
            models.Index(  # what is there to send?
                fields=["next_attempt_at"], condition=Q(status__in=["pending", "sending"]), name="deliveries_unsent"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.channel} {self.part}"
