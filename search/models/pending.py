"""Rows whose entries have to be looked at: written by triggers, in the transaction that changed the row."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from config.columns import clock


class Pending(models.Model):
    """A wake-up for one row. Twice is harmless; writing its entries and deleting it are one transaction."""

    id = models.BigAutoField(primary_key=True)  # narrow and cheap: every append writes one
    entity_type = models.CharField(_("type"), max_length=50)
    entity_id = models.UUIDField(_("id of the source"))
    attempts = models.SmallIntegerField(_("attempts"), db_default=0)
    leased_until = models.DateTimeField(_("in work until"), null=True)
    error = models.TextField(_("error"), blank=True, db_default="")
    created_at = models.DateTimeField(_("changed"), db_default=clock(), editable=False)

    class Meta:
        db_table = "search_pending"
        verbose_name = _("row to index")
        verbose_name_plural = _("rows to index")
        indexes = [models.Index(fields=["id"], condition=Q(attempts__gt=0), name="search_pending_tried")]

    def __str__(self) -> str:
        return f"{self.entity_type} {self.entity_id}"
