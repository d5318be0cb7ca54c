"""What was worth writing down, by staff or by an agent in a conversation."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from config.columns import is_json_array
from entities.base import Entity


class Note(Entity):
    """A note about anything here; one that an agent took names the conversation, the turn and the message."""

    title = models.CharField(_("title"), max_length=200)
    text = models.TextField(_("text"), null=True, blank=True)
    tags = models.JSONField(_("tags"), default=list, db_default=[], blank=True)
    project = models.ForeignKey(
        "entities.Project",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="notes",
        verbose_name=_("project"),
    )
    character = models.ForeignKey(
        "entities.Character",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="notes",
        verbose_name=_("character"),
    )
    idea = models.ForeignKey(
        "entities.Idea",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="notes",
        verbose_name=_("idea"),
    )
    conversation_id = models.UUIDField(_("conversation"), null=True, blank=True)  # no key: this room knows no other
    turn_id = models.UUIDField(_("turn"), null=True, blank=True)
    message_id = models.UUIDField(_("message"), null=True, blank=True)

    class Meta:
        db_table = "notes"
        verbose_name = _("note")
        verbose_name_plural = _("notes")
        constraints = [
            models.CheckConstraint(condition=~Q(title=""), name="notes_named"),  # a row without a name is not found
            models.CheckConstraint(condition=is_json_array("tags"), name="notes_tags_list"),
        ]
        indexes = [
            models.Index(fields=["conversation_id"], name="notes_of_conversation"),  # its page; erasure
        ]
