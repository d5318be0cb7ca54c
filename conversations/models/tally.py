"""What is worth counting and leaves no row of its own."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class Tally(models.Model):
    """How often something happened in an hour."""

    name = models.CharField(_("name"), max_length=50)
    hour = models.DateTimeField(_("hour"))
    count = models.BigIntegerField(_("count"))

    class Meta:
        db_table = "tallies"
        verbose_name = _("tally")
        verbose_name_plural = _("tallies")
        constraints = [
            models.UniqueConstraint(fields=["name", "hour"], name="tallies_one_per_hour")  # what counting adds to
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.hour:%Y-%m-%d %H}:00"
