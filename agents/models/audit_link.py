"""The chain that shows whether somebody changed the record."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class AuditLink(models.Model):
    """Entry number `seq` in order of commit, and the hash over the link before it and the entry's content.

    A trigger writes it when the entry's transaction commits (ADR 0071). No foreign key: it would ask for the right to
    update the log, which nobody has.
    """

    seq = models.BigIntegerField(_("number"), primary_key=True)
    entry_id = models.UUIDField(_("entry"), unique=True)
    hash = models.CharField(_("hash"), max_length=64)

    class Meta:
        db_table = "audit_chain"
        verbose_name = _("link of the audit chain")
        verbose_name_plural = _("audit chain")

    def __str__(self) -> str:
        return str(self.seq)
