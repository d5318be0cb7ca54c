"""What one worker process did in one minute: the queue's only memory of tasks that succeeded."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class QueueMinute(models.Model):
    """Counted in the statement that ends the task, in a row no other process writes: exact, and never waited for."""

    minute = models.DateTimeField(_("minute"))
    worker_id = models.BigIntegerField(_("worker"))
    pid = models.IntegerField(_("process"))
    name = models.TextField(_("task"))
    done = models.IntegerField(_("done"), db_default=0)
    failed = models.IntegerField(_("failed"), db_default=0)
    busy_ms = models.BigIntegerField(_("time spent, ms"), db_default=0)
    late_ms = models.BigIntegerField(_("started late by, ms, in all"), db_default=0)
    latest_ms = models.BigIntegerField(_("latest start, ms"), db_default=0)

    class Meta:
        db_table = "queue_minutes"
        verbose_name = _("minute of the queue")
        verbose_name_plural = _("minutes of the queue")
        constraints = [
            # the upsert of the statement that ends a task; its prefix serves the page's last minutes
            models.UniqueConstraint(fields=["minute", "worker_id", "pid", "name"], name="queue_minutes_one_row"),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.minute:%H:%M}"
