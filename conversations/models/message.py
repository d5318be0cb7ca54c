"""One message, stored once and for ever."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Length
from django.utils.translation import gettext_lazy as _

from config.columns import ReadableJSONField, clock, is_json_object, new_id
from conversations.models.conversation import Conversation

EXTERNAL_ID_LENGTH = 255


class Role(models.TextChoices):
    """Who speaks."""

    USER = "user", _("person")
    ASSISTANT = "assistant", _("agent")
    SYSTEM = "system", _("system")
    TOOL = "tool", _("tool")


class MessageQuerySet(models.QuerySet["Message"]):
    """Questions asked of messages."""

    def visible(self) -> MessageQuerySet:
        """Those that were not deleted."""
        return self.filter(deleted_at__isnull=True)


class Message(models.Model):
    """A message as it was said. `conversations.log` writes it; triggers refuse any change but one `deleted_at`."""

    id = models.UUIDField(primary_key=True, editable=False, db_default=new_id())
    conversation = models.ForeignKey(  # the database's own foreign key cascades, see migration 0002
        Conversation, models.DO_NOTHING, related_name="messages", db_index=False, db_constraint=False
    )
    message_index = models.BigIntegerField(_("index"), editable=False)
    role = models.CharField(_("role"), max_length=10, choices=Role)
    content = models.TextField(_("content"))
    character_count = models.GeneratedField(
        verbose_name=_("characters"),
        expression=Length("content"),
        output_field=models.IntegerField(),
        db_persist=True,
    )
    metadata = ReadableJSONField(_("metadata"), default=dict, db_default={}, blank=True)
    external_id = models.CharField(  # noqa: DJ001  absent is not the same as an empty name
        _("external id"), max_length=EXTERNAL_ID_LENGTH, null=True, blank=True
    )
    inbound = models.BooleanField(_("inbound"), db_default=False, default=False)
    author = models.CharField(_("author"), max_length=150, blank=True, db_default="", default="")
    turn_id = models.UUIDField(_("turn"), null=True, blank=True)  # becomes a foreign key when `turns` exists
    agent_version = models.IntegerField(_("agent version"), null=True, blank=True)
    import_id = models.UUIDField(_("import"), null=True, blank=True, editable=False)  # which import brought it
    created_at = models.DateTimeField(_("created"), db_default=clock(), editable=False)
    updated_at = models.DateTimeField(_("updated"), db_default=clock(), editable=False)
    deleted_at = models.DateTimeField(_("deleted"), null=True, editable=False)

    objects = MessageQuerySet.as_manager()

    class Meta:
        db_table = "messages"
        verbose_name = _("message")
        verbose_name_plural = _("messages")
        ordering = ["conversation", "message_index"]
        constraints = [
            models.UniqueConstraint(  # one message per index; serves every page of `history`, both ways
                fields=["conversation", "message_index"], name="messages_one_per_index"
            ),
            models.UniqueConstraint(  # one message per external id; finds the first of a repeated append
                fields=["conversation", "external_id"],
                condition=Q(external_id__isnull=False),
                name="messages_one_per_external_id",
            ),
            models.CheckConstraint(condition=Q(message_index__gte=0), name="messages_index_from_zero"),
            models.CheckConstraint(condition=Q(role__in=Role.values), name="messages_role_known"),
            models.CheckConstraint(
                condition=Q(external_id__isnull=True) | ~Q(external_id=""), name="messages_external_id_not_empty"
            ),
            models.CheckConstraint(condition=is_json_object("metadata"), name="messages_metadata_object"),
        ]

    def __str__(self) -> str:
        return f"{self.role} {self.message_index}"
