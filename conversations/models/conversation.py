"""A conversation of one person with one agent, and the counter its messages are numbered by."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from agents.models import Agent
from config.columns import clock, is_json_object, new_id


class Mode(models.TextChoices):
    """Who answers."""

    AUTO = "auto", _("the agent answers")
    MANUAL = "manual", _("staff answer")
    CLOSED = "closed", _("closed")


class ConversationQuerySet(models.QuerySet["Conversation"]):
    """Questions asked of conversations."""

    def live(self) -> ConversationQuerySet:
        """Those that still go on."""
        return self.exclude(mode=Mode.CLOSED)


class Conversation(models.Model):
    """What one person and one agent say to each other.

    `message_count` is the number of messages ever said and so the index of the next one; only the triggers of
    `messages` move it and `deleted_count`. What a reader sees is the difference of the two.
    """

    id = models.UUIDField(primary_key=True, editable=False, db_default=new_id())
    user_id = models.BigIntegerField(_("user"))
    chat_id = models.BigIntegerField(_("chat"), null=True, blank=True)
    channel = models.CharField(_("channel"), max_length=50, db_default="api", default="api")
    agent = models.ForeignKey(  # the database's own foreign key is in migration 0007
        Agent, models.DO_NOTHING, null=True, blank=True, related_name="+", db_index=False, db_constraint=False,
        verbose_name=_("agent"),
    )  # fmt: skip
    agent_version = models.IntegerField(_("pinned version"), null=True, editable=False)  # for a whole interview
    title = models.CharField(_("title"), max_length=200, blank=True, db_default="", default="")
    mode = models.CharField(_("mode"), max_length=10, choices=Mode, db_default=Mode.AUTO, default=Mode.AUTO)
    interview_step = models.IntegerField(_("interview step"), db_default=0, default=0)
    message_count = models.BigIntegerField(_("messages"), db_default=0, default=0, editable=False)
    deleted_count = models.BigIntegerField(_("deleted messages"), db_default=0, default=0, editable=False)
    last_message_at = models.DateTimeField(_("last message"), null=True, editable=False)
    metadata = models.JSONField(_("metadata"), default=dict, db_default={}, blank=True)
    created_at = models.DateTimeField(_("created"), db_default=clock(), editable=False)
    updated_at = models.DateTimeField(_("updated"), db_default=clock(), editable=False)

    objects = ConversationQuerySet.as_manager()

    class Meta:
        db_table = "conversations"
        verbose_name = _("conversation")
        verbose_name_plural = _("conversations")
        constraints = [
            models.UniqueConstraint(  # one live conversation per chat; also finds it for `sessions.open`
                fields=["channel", "chat_id", "user_id"],
                condition=Q(chat_id__isnull=False) & ~Q(mode="closed"),
                name="conversations_one_live_per_chat",
            ),
            models.CheckConstraint(condition=Q(mode__in=Mode.values), name="conversations_mode_known"),
            models.CheckConstraint(condition=Q(interview_step__gte=0), name="conversations_step_from_zero"),
            models.CheckConstraint(condition=is_json_object("metadata"), name="conversations_metadata_object"),
            models.CheckConstraint(  # nothing is counted as deleted that was never said
                condition=Q(deleted_count__gte=0, deleted_count__lte=F("message_count")), name="conversations_counts"
            ),
        ]
        indexes = [
            models.Index(  # the staff list: latest activity first, stable among equals
                F("last_message_at").desc(nulls_last=True), F("id").desc(), name="conversations_staff_list"
            ),
            models.Index(fields=["user_id"], name="conversations_user"),  # row-level security: whose rows are these?
        ]

    def __str__(self) -> str:
        return self.title or f"{self.channel} {self.user_id}"

    @property
    def visible_count(self) -> int:
        """How many messages a reader sees."""
        return self.message_count - self.deleted_count
