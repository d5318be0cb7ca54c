"""A bot and its heartbeat."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from config.columns import clock, new_id


class Bot(models.Model):
    """One account of one channel that `manage.py bot` serves; whoever serves it now writes the row."""

    id = models.UUIDField(primary_key=True, editable=False, db_default=new_id())
    channel = models.CharField(_("channel"), max_length=50)
    account = models.CharField(_("account"), max_length=100)
    host = models.TextField(_("host"))
    pid = models.IntegerField(_("process"))
    started_at = models.DateTimeField(_("started"), db_default=clock())
    beat_at = models.DateTimeField(_("heartbeat"), db_default=clock())
    stopped_at = models.DateTimeField(_("stopped"), null=True)
    created_at = models.DateTimeField(_("created"), db_default=clock(), editable=False)
    updated_at = models.DateTimeField(_("updated"), db_default=clock(), editable=False)

    class Meta:
        db_table = "bots"
        verbose_name = _("bot")
        verbose_name_plural = _("bots")
        constraints = [
            models.UniqueConstraint(  # one row per account: a restart takes over the row of the one before
                fields=["channel", "account"], name="bots_one_per_account"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.channel} {self.account}"
