"""One import: what was read, what became of it, and how far it got."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from config.columns import clock, new_id


class ImportStatus(models.TextChoices):
    """How far it is."""

    RUNNING = "running", _("running")
    FAILED = "failed", _("stopped by an error")
    DONE = "done", _("done")
    DIFFERS = "differs", _("done, but not equal to the source")
    UNDOING = "undoing", _("being undone")
    UNDONE = "undone", _("undone")


class ImportBatch(models.Model):
    """Every chunk commits with `position`, the counts and the report, so a killed import goes on where it was.

    `source` says whose conversations these are, as a JSON array; the same source twice brings only what is new.
    `generation` moves with every start: a process whose import was taken over writes nothing more.
    """

    id = models.UUIDField(primary_key=True, editable=False, db_default=new_id())
    kind = models.CharField(_("format"), max_length=30)
    source = models.TextField(_("source"))
    origin = models.TextField(_("read from"))  # for people: never a password
    options = models.JSONField(_("options"), default=dict, db_default={})
    status = models.CharField(
        _("status"), max_length=10, choices=ImportStatus, db_default=ImportStatus.RUNNING, default=ImportStatus.RUNNING
    )
    generation = models.IntegerField(db_default=0, default=0)
    position = models.JSONField(_("position"), null=True)
    read = models.BigIntegerField(_("read"), db_default=0, default=0)
    brought = models.BigIntegerField(_("brought"), db_default=0, default=0)
    known = models.BigIntegerField(_("known before"), db_default=0, default=0)
    rejected = models.BigIntegerField(_("rejected"), db_default=0, default=0)
    report = models.JSONField(_("report"), default=dict, db_default={})
    started_by = models.CharField(_("started by"), max_length=100, db_default="", default="")
    error = models.TextField(_("error"), blank=True, db_default="", default="")
    finished_at = models.DateTimeField(_("finished"), null=True)
    undone_by = models.CharField(_("undone by"), max_length=100, blank=True, db_default="", default="")
    created_at = models.DateTimeField(_("started"), db_default=clock(), editable=False)
    updated_at = models.DateTimeField(_("last step"), db_default=clock(), editable=False)

    class Meta:
        db_table = "imports"
        verbose_name = _("import")
        verbose_name_plural = _("imports")
        constraints = [
            models.CheckConstraint(condition=Q(status__in=ImportStatus.values), name="imports_status_known"),
            models.CheckConstraint(  # the reconciliation: nothing that was read is unaccounted for
                condition=Q(read=models.F("brought") + models.F("known") + models.F("rejected")),
                name="imports_account_for_all",
            ),
            models.UniqueConstraint(  # one import of a source at a time; finds the one to go on with
                fields=["source"], condition=Q(status__in=["running", "failed"]), name="imports_one_open_per_source"
            ),
        ]
        indexes = [models.Index(fields=["-created_at"], name="imports_latest")]

    def __str__(self) -> str:
        return f"{self.kind} {self.origin}"
