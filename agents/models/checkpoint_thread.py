"""The checkpoints of one turn, as staff see them: a view over the saver's own tables."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class CheckpointThread(models.Model):
    """Read-only: LangGraph's saver writes the tables behind it."""

    thread_id = models.TextField(_("turn"), primary_key=True)
    checkpoints = models.BigIntegerField(_("checkpoints"))
    size = models.BigIntegerField(_("bytes"))
    last_at = models.DateTimeField(_("last step"))

    class Meta:
        managed = False
        db_table = "checkpoint_threads"
        verbose_name = _("checkpoint thread")
        verbose_name_plural = _("checkpoint threads")

    def __str__(self) -> str:
        return self.thread_id
