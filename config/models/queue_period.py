"""The last slot of every periodic task that was put into the queue."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class QueuePeriod(models.Model):
    """A slot is a number of periods since 1970. Moving it on and queueing its task are one transaction."""

    name = models.TextField(_("task"), primary_key=True)
    slot = models.BigIntegerField(_("slot"))
    succeeded = models.BigIntegerField(_("last success"), null=True)  # its task, whose row is gone by then

    class Meta:
        db_table = "queue_periods"
        verbose_name = _("period of the queue")
        verbose_name_plural = _("periods of the queue")

    def __str__(self) -> str:
        return self.name
