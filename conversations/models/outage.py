"""A time in which a bot answered without the database."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from config.columns import clock


class Outage(models.Model):
    """Written once the journal of it has been stored. Both ends are of the bot's clock: there was no other."""

    id = models.UUIDField(_("journal"), primary_key=True, editable=False)  # so a journal is told of once
    channel = models.CharField(_("channel"), max_length=50)
    account = models.CharField(_("account"), max_length=100)
    began_at = models.DateTimeField(_("began"))
    ended_at = models.DateTimeField(_("ended"))
    updates = models.IntegerField(_("updates"))
    answers = models.IntegerField(_("answers"))
    rejected = models.IntegerField(_("rejected"))
    damaged = models.IntegerField(_("unreadable"))
    created_at = models.DateTimeField(_("stored"), db_default=clock(), editable=False)
    updated_at = models.DateTimeField(_("updated"), db_default=clock(), editable=False)

    class Meta:
        db_table = "outages"
        verbose_name = _("outage")
        verbose_name_plural = _("outages")
        constraints = [
            models.CheckConstraint(condition=Q(ended_at__gte=F("began_at")), name="outages_end_after_they_began"),
        ]
        indexes = [
            models.Index(fields=["-ended_at"], name="outages_latest"),  # the staff list, and what the last day held
        ]

    def __str__(self) -> str:
        return f"{self.channel} {self.account}"

    @property
    def minutes(self) -> float:
        return (self.ended_at - self.began_at).total_seconds() / 60
