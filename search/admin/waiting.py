"""What is on its way into the index, and what was refused on the way."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from config.admin import ReadOnlyAdmin, display
from config.text import plain
from search.models import Pending, Unembedded
from search.models.unembedded import Wait
from search.page.permissions import types

COLOURS = {"waiting": "info", "failed": "danger"}


@admin.register(Unembedded)
class UnembeddedAdmin(ReadOnlyAdmin):
    """Entries the model has not seen, or does not take."""

    icon = "hourglass_top"
    empty_hint = _("Every entry of the index has its vector.")
    in_palette = False
    list_display = ["beginning", "shown_state", "attempts", "due_at", "error"]
    list_display_links = ["beginning"]
    list_filter = ["state"]
    list_select_related = ["entry"]
    list_per_page = 50
    ordering = ["-created_at"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Unembedded]:
        """Of the kinds this person may see."""
        waiting: QuerySet[Unembedded] = super().get_queryset(request)
        return waiting.filter(entry__entity_type__in=types(request))

    @display(description=_("content"))
    def beginning(self, waiting: Unembedded) -> str:
        return plain(waiting.entry.content)[:120] or "–"

    @display(description=_("state"), label=COLOURS)
    def shown_state(self, waiting: Unembedded) -> tuple[str, str]:
        return waiting.state, str(Wait(waiting.state).label)


@admin.register(Pending)
class PendingAdmin(ReadOnlyAdmin):
    """Rows that changed a moment ago; one that stays here has an error."""

    icon = "pending"
    empty_hint = _("Whatever changed is in the index.")
    in_palette = False
    list_display = ["entity_type", "entity_id", "attempts", "error", "created_at"]
    list_per_page = 50
    ordering = ["id"]
