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


TROUBLE = [DeliveryStatus.UNKNOWN, DeliveryStatus.FAILED]


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    """Questions asked of deliveries."""

    def overdue(self) -> DeliveryQuerySet:
        """Those somebody should be sending: their time has come, or their sender's lease has run out."""
        now = clock()
        return self.filter(
            Q(status=DeliveryStatus.PENDING, next_attempt_at__lte=now)
            | Q(status=DeliveryStatus.SENDING, lease_until__lte=now)
        )

    def troubled(self) -> DeliveryQuerySet:
        """Those that did not surely arrive, and nobody of the staff has said what of it."""
        return self.filter(status__in=TROUBLE, resolved_at__isnull=True)


class Delivery(models.Model):
    """One outbox row per part: what of the message it is (`begins` to `ends`), and how far it has come.

    Settling a turn writes it whole, in the same transaction as the reply; whoever sends it cuts it first if need be.
    Where it stands in its conversation is copied from the message by a trigger. `generation` grows with every claim;
    whoever still holds an older one updates no row.
    """

    id = models.UUIDField(primary_key=True, editable=False, db_default=new_id())
    message = models.ForeignKey(  # the database's own foreign key cascades, see migration 0005
        Message, models.DO_NOTHING, related_name="deliveries", db_index=False, db_constraint=False
    )
    conversation_id = models.UUIDField(_("conversation"), editable=False, null=True)
    message_index = models.BigIntegerField(_("index"), editable=False, null=True)
    channel = models.CharField(_("channel"), max_length=50)
    part = models.IntegerField(_("part"), db_default=0, default=0)
    begins = models.IntegerField(_("begins at character"), db_default=0, default=0)
    ends = models.IntegerField(_("ends before character"), null=True)  # null: not looked at, so the whole message
    status = models.CharField(_("status"), max_length=10, choices=DeliveryStatus, db_default=DeliveryStatus.PENDING)
    attempts = models.IntegerField(_("attempts"), db_default=0, default=0)
    next_attempt_at = models.DateTimeField(_("next attempt"), db_default=clock())  # unknown: others wait until then
    slot_at = models.DateTimeField(_("slot"), null=True)  # the channel's turn for it, where the channel has a pace
    lease_until = models.DateTimeField(_("lease until"), null=True)
    generation = models.IntegerField(_("generation"), db_default=0, default=0)
    external_id = models.CharField(_("external id"), max_length=255, blank=True, db_default="", default="")
    error = models.TextField(_("error"), blank=True, db_default="", default="")
    sent_at = models.DateTimeField(_("sent"), null=True)
    resolved_at = models.DateTimeField(_("decided"), null=True)
    resolved_by = models.CharField(_("decided by"), max_length=150, blank=True, db_default="", default="")
    created_at = models.DateTimeField(_("created"), db_default=clock(), editable=False)
    updated_at = models.DateTimeField(_("updated"), db_default=clock(), editable=False)

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        db_table = "deliveries"
        verbose_name = _("delivery")
        verbose_name_plural = _("deliveries")
        constraints = [
            models.UniqueConstraint(  # a part is delivered once; finds the parts of a message
                fields=["message", "part"], name="deliveries_one_per_part"
            ),
            models.CheckConstraint(condition=Q(status__in=DeliveryStatus.values), name="deliveries_status_known"),
            models.UniqueConstraint(  # one part of a conversation is under way at a time, whoever tries
                fields=["conversation_id"], condition=Q(status="sending"), name="deliveries_one_sending"
            ),
            models.CheckConstraint(  # a lease belongs to a sender, and every sender has one
                condition=Q(status="sending", lease_until__isnull=False) | (~Q(status="sending")),
                name="deliveries_send_under_a_lease",
            ),
        ]
        indexes = [
            models.Index(  # sweep and metrics: what is there to send?
                fields=["next_attempt_at"], condition=Q(status__in=["pending", "sending"]), name="deliveries_unsent"
            ),
            models.Index(  # what comes next in a conversation?
                fields=["conversation_id", "message_index", "part"],
                condition=Q(status__in=["pending", "sending", "unknown"]),
                name="deliveries_next",
            ),
            models.Index(  # what did not surely arrive, and waits for a decision?
                fields=["updated_at"],
                condition=Q(status__in=["unknown", "failed"], resolved_at__isnull=True),
                name="deliveries_troubled",
            ),
            models.Index(fields=["-created_at", "-id"], name="deliveries_latest"),  # the staff list
        ]

    def __str__(self) -> str:
        return f"{self.channel} #{self.message_index}" + (f" / {self.part + 1}" if self.part else "")
