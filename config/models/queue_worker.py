"""A group of worker processes and its heartbeat."""

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _


class QueueWorker(models.Model):
    """One django-q2 cluster under a supervisor; the supervisor writes the row, never the cluster itself."""

    host = models.TextField(_("host"))
    pid = models.IntegerField(_("supervisor"))
    processes = models.SmallIntegerField(_("processes"))
    started_at = models.DateTimeField(_("started"), db_default=Now())
    beat_at = models.DateTimeField(_("heartbeat"), db_default=Now())
    stopped_at = models.DateTimeField(_("stopped"), null=True)
    restarts = models.IntegerField(_("restarts"), db_default=0)
    trouble = models.TextField(_("last trouble"), db_default="")
    clock_skew_ms = models.IntegerField(_("clock skew, ms"), db_default=0)

    class Meta:
        db_table = "queue_workers"
        verbose_name = _("queue worker")
        verbose_name_plural = _("queue workers")
        indexes = [
            # readiness: is any worker alive?
            models.Index(fields=["-beat_at"], name="queue_workers_beat"),
        ]

    def __str__(self) -> str:
        return f"{self.host} #{self.pk}"
