"""A chat that goes on under another id."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from config.columns import clock, new_id


class ChatMove(models.Model):
    """The chat's old and new id, as when a group becomes a supergroup: what comes late for the old one is not lost."""

    id = models.UUIDField(primary_key=True, editable=False, db_default=new_id())
    channel = models.CharField(_("channel"), max_length=50)
    old_chat_id = models.BigIntegerField(_("old chat"))
    new_chat_id = models.BigIntegerField(_("new chat"))
    created_at = models.DateTimeField(_("created"), db_default=clock(), editable=False)

    class Meta:
        db_table = "chat_moves"
        verbose_name = _("move of a chat")
        verbose_name_plural = _("moves of chats")
        constraints = [
            models.UniqueConstraint(fields=["channel", "old_chat_id"], name="chat_moves_once"),  # finds the new id
        ]

    def __str__(self) -> str:
        return f"{self.old_chat_id} → {self.new_chat_id}"
