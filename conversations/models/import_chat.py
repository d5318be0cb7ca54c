"""Which conversation a chat of a source became."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from config.columns import clock, new_id
from conversations.models.conversation import Conversation


class ImportChat(models.Model):
    """Outlives its conversation: what somebody had erased here is not brought again by the next import."""

    id = models.UUIDField(primary_key=True, editable=False, db_default=new_id())
    source = models.TextField(_("source"))
    key = models.TextField(_("key"))
    conversation = models.ForeignKey(  # the database's own foreign key sets it to nothing, see migration 0017
        Conversation, models.DO_NOTHING, null=True, related_name="+", db_index=False, db_constraint=False
    )
    created_at = models.DateTimeField(_("created"), db_default=clock(), editable=False)
    updated_at = models.DateTimeField(_("updated"), db_default=clock(), editable=False)

    class Meta:
        db_table = "import_chats"
        verbose_name = _("imported chat")
        verbose_name_plural = _("imported chats")
        constraints = [
            models.UniqueConstraint(  # a chat becomes one conversation, however often it is imported; finds it
                fields=["source", "key"], name="import_chats_one_per_key"
            )
        ]
        indexes = [
            models.Index(fields=["conversation"], name="import_chats_conversation")  # the foreign key, and erasing
        ]

    def __str__(self) -> str:
        return self.key
