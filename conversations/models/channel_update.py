"""What a channel told us, once per update."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from config.columns import clock, new_id


class ChannelUpdate(models.Model):
    """One update of one bot: claimed in the transaction of what follows from it, so neither is there without the other.

    Its text is in the log; here is only a hash, but for what our code could not handle: `payload` keeps it for the next
    release.
    """

    id = models.UUIDField(primary_key=True, editable=False, db_default=new_id())
    bot_id = models.BigIntegerField(_("bot"))
    update_id = models.BigIntegerField(_("update"))
    content_hash = models.BinaryField(_("hash"))
    kind = models.CharField(_("kind"), max_length=50)
    outcome = models.CharField(_("outcome"), max_length=30)
    chat_id = models.BigIntegerField(_("chat"), null=True)
    message_id = models.BigIntegerField(_("message in the chat"), null=True)
    payload = models.JSONField(_("payload"), null=True)
    created_at = models.DateTimeField(_("created"), db_default=clock(), editable=False)

    class Meta:
        db_table = "channel_updates"
        verbose_name = _("update of a channel")
        verbose_name_plural = _("updates of channels")
        constraints = [
            models.UniqueConstraint(  # an update is handled once, however often and wherever it comes
                fields=["bot_id", "update_id"], name="channel_updates_once_per_bot"
            ),
        ]
        indexes = [
            models.Index(fields=["created_at"], name="channel_updates_by_age"),  # what may be forgotten?
            models.Index(  # was a newer edit of this message there before?
                fields=["bot_id", "chat_id", "message_id"], name="channel_updates_of_message"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.bot_id} {self.update_id}"
