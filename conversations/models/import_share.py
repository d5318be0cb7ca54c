"""What one import brought to one conversation."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from config.columns import clock, new_id
from conversations.models.conversation import Conversation
from conversations.models.import_batch import ImportBatch


class ShareState(models.TextChoices):
    """Whether what is stored was found equal to what was read."""

    WRITTEN = "written", _("not compared yet")
    EQUAL = "equal", _("equal")
    DIFFERS = "differs", _("differs")
    UNDONE = "undone", _("undone")


class ImportShare(models.Model):
    """`checksum` is the sum of `message_digest` over the messages as they were read."""

    id = models.UUIDField(primary_key=True, editable=False, db_default=new_id())
    batch = models.ForeignKey(
        ImportBatch, models.DO_NOTHING, related_name="shares", db_index=False, db_constraint=False
    )
    conversation = models.ForeignKey(  # set to nothing when the conversation is erased, see migration 0017
        Conversation, models.DO_NOTHING, null=True, related_name="+", db_index=False, db_constraint=False
    )
    opened = models.BooleanField(_("opened the conversation"), db_default=False, default=False)
    messages = models.BigIntegerField(_("messages"), db_default=0, default=0)
    checksum = models.DecimalField(_("checksum"), max_digits=40, decimal_places=0, db_default=0, default=0)
    first_index = models.BigIntegerField(_("first"), null=True)
    last_index = models.BigIntegerField(_("last"), null=True)
    state = models.CharField(
        _("compared"), max_length=10, choices=ShareState, db_default=ShareState.WRITTEN, default=ShareState.WRITTEN
    )
    created_at = models.DateTimeField(_("created"), db_default=clock(), editable=False)
    updated_at = models.DateTimeField(_("updated"), db_default=clock(), editable=False)

    class Meta:
        db_table = "import_shares"
        verbose_name = _("share of an import")
        verbose_name_plural = _("shares of imports")
        constraints = [
            models.UniqueConstraint(  # one sum per import and conversation
                fields=["batch", "conversation"], name="import_shares_one_per_conversation"
            ),
            models.CheckConstraint(condition=Q(state__in=ShareState.values), name="import_shares_state_known"),
            models.CheckConstraint(  # what was brought lies between its first and its last index
                condition=Q(messages=0) | Q(messages__lte=F("last_index") - F("first_index") + 1),
                name="import_shares_range",
            ),
        ]
        indexes = [
            models.Index(
                fields=["batch", "state", "id"], name="import_shares_to_do"
            ),  # comparing, undoing: which next?
            models.Index(fields=["conversation"], name="import_shares_conversation"),  # the foreign key
        ]

    def __str__(self) -> str:
        return f"{self.messages} in {self.conversation_id}"
