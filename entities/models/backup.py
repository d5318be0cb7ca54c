"""One backup that was taken, wherever its files are."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from config.columns import clock, new_id


class Backup(models.Model):
    """Written when the files are whole and on the disk; `entities.backup` knows the files themselves."""

    id = models.UUIDField(primary_key=True, editable=False, db_default=new_id())
    name = models.CharField(_("name"), max_length=100)
    reason = models.CharField(_("reason"), max_length=50)
    made_by = models.CharField(_("by"), max_length=100)
    host = models.CharField(_("machine"), max_length=100)
    place = models.TextField(_("folder"))
    size = models.BigIntegerField(_("bytes"))
    rows = models.BigIntegerField(_("rows"))
    sha256 = models.CharField(_("checksum"), max_length=64)
    created_at = models.DateTimeField(_("taken"), db_default=clock(), editable=False)
    verified_at = models.DateTimeField(_("restored and verified"), null=True, blank=True)
    removed_at = models.DateTimeField(_("removed"), null=True, blank=True)

    class Meta:
        db_table = "backups"
        verbose_name = _("backup")
        verbose_name_plural = _("backups")
        constraints = [
            models.UniqueConstraint(fields=["name", "host"], name="backups_named_once"),
            models.CheckConstraint(condition=models.Q(sha256__regex="^[0-9a-f]{64}$"), name="backups_checksum_is_one"),
        ]
        indexes = [
            models.Index(fields=["-created_at"], name="backups_newest"),  # how old is the last one?
        ]

    def __str__(self) -> str:
        return self.name
