"""Something an import read and did not store, with the reason and the thing itself."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from config.columns import clock, new_id
from conversations.models.import_batch import ImportBatch
from conversations.models.import_chat import ImportChat


class RejectReason(models.TextChoices):
    """Why it was not stored."""

    ROLE = "role", _("unknown role")
    CONTENT = "content", _("no text")
    NOT_A_MESSAGE = "not_a_message", _("not a message")
    NOT_A_LIST = "not_a_list", _("not a list of messages")
    BROKEN_JSON = "broken_json", _("broken JSON")
    DUPLICATE_ID = "duplicate_id", _("id taken by another message")
    CHANGED = "changed", _("changed in the source since it was imported")
    TOO_LARGE = "too_large", _("too large")
    BRANCH = "branch", _("off the branch that was shown")


class RejectState(models.TextChoices):
    """What became of it."""

    OPEN = "open", _("open")
    STORED = "stored", _("stored since")
    DISMISSED = "dismissed", _("dismissed")


class ImportReject(models.Model):
    """`payload` is what was read, as JSON text that names what the database could not store (\\u0000)."""

    id = models.UUIDField(primary_key=True, editable=False, db_default=new_id())
    batch = models.ForeignKey(
        ImportBatch, models.DO_NOTHING, related_name="rejects", db_index=False, db_constraint=False,
        verbose_name=_("import"),
    )  # fmt: skip
    chat = models.ForeignKey(  # the database's own foreign key cascades, see migration 0017
        ImportChat, models.DO_NOTHING, null=True, related_name="rejects", db_index=False, db_constraint=False
    )
    place = models.CharField(_("place in the source"), max_length=200)
    reason = models.CharField(_("reason"), max_length=20, choices=RejectReason)
    detail = models.TextField(_("detail"), blank=True, db_default="", default="")
    payload = models.TextField(_("what was read"), blank=True, db_default="", default="")
    whole = models.BooleanField(_("kept whole"), db_default=True, default=True)
    state = models.CharField(
        _("state"), max_length=10, choices=RejectState, db_default=RejectState.OPEN, default=RejectState.OPEN
    )
    created_at = models.DateTimeField(_("created"), db_default=clock(), editable=False)
    updated_at = models.DateTimeField(_("updated"), db_default=clock(), editable=False)

    class Meta:
        db_table = "import_rejects"
        verbose_name = _("reject of an import")
        verbose_name_plural = _("rejects of imports")
        constraints = [
            models.CheckConstraint(condition=Q(reason__in=RejectReason.values), name="import_rejects_reason_known"),
            models.CheckConstraint(condition=Q(state__in=RejectState.values), name="import_rejects_state_known"),
        ]
        indexes = [
            models.Index(fields=["batch", "state", "id"], name="import_rejects_to_do"),  # the re-try: which next?
            models.Index(fields=["chat"], name="import_rejects_chat"),  # erasing takes them along
        ]

    def __str__(self) -> str:
        return f"{self.reason} {self.place}"
