"""The rows of the index, as raw SQL would show them; people search on the search page."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import BooleanField, ExpressionWrapper, Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from config.admin import ReadOnlyAdmin, RecentValues, display
from config.text import plain
from search.models import Entry
from search.page.permissions import types

SHOWN = 120  # characters of the content in a list


class KindFilter(RecentValues):
    """Which kind of thing."""

    title = _("type")
    parameter_name = "type"
    column = "entity_type"
    newest = ("-id",)


@admin.register(Entry)
class EntryAdmin(ReadOnlyAdmin):
    """Read only: triggers and the worker write these."""

    icon = "manage_search"
    in_palette = False
    list_display = ["beginning", "entity_type", "chunk", "user_id", "has_vector", "space", "deleted", "at"]
    list_display_links = ["beginning"]
    list_filter = [KindFilter, "space"]
    list_select_related = ["space"]
    list_per_page = 50
    ordering = ["-id"]
    fields = ["entity_type", "entity_id", "chunk", "space", "whole", "has_vector", "metadata", "user_id", "deleted"]
    fields += ["at", "created_at", "updated_at"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Entry]:
        """Of the kinds this person may see; without the vectors: a page of them is a megabyte of numbers."""
        there = ExpressionWrapper(Q(embedding__isnull=False), output_field=BooleanField())
        entries: QuerySet[Entry] = super().get_queryset(request)
        allowed = entries.filter(entity_type__in=types(request))
        return allowed.defer("embedding", "tsv").annotate(vector_there=there)

    @display(description=_("content"))
    def beginning(self, entry: Entry) -> str:
        return plain(entry.content)[:SHOWN] or "–"

    @display(description=_("content"))
    def whole(self, entry: Entry) -> str:
        return entry.content

    @display(description=_("vector"))
    def has_vector(self, entry: Any) -> str:
        return str(_("yes") if entry.vector_there else _("no"))
