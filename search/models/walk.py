"""How far a run of `manage.py reindex` came over one type, so that the next one goes on there."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from config.columns import clock


class Walk(models.Model):
    """An unfinished run; the row goes when the last page is done."""

    name = models.TextField(primary_key=True)  # a JSON array of the kind of run and the entity type
    upto = models.UUIDField(_("done up to"), null=True)
    checked = models.BigIntegerField(_("rows checked"), db_default=0)
    created_at = models.DateTimeField(_("started"), db_default=clock(), editable=False)
    updated_at = models.DateTimeField(_("updated"), db_default=clock(), editable=False)

    class Meta:
        db_table = "search_walks"
        verbose_name = _("unfinished reindexing")
        verbose_name_plural = _("unfinished reindexings")

    def __str__(self) -> str:
        return self.name
