"""The lineage of all tables together: what was written lately, by whom, and because of what."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from config import places
from config.admin import ChoicesDropdownFilter, DateRange, ReadOnlyAdmin, RecentValues, display
from config.text import plain
from entities import loader
from entities.admin import columns, story
from entities.models import EntityChange

NEWEST = ("-id",)


class ByType(RecentValues):
    title = _("kind")
    parameter_name = column = "entity_type"
    newest = NEWEST

    def label(self, value: str) -> str:
        model = loader.model_of(value)
        return str(model._meta.verbose_name) if model else value


class ByActor(RecentValues):
    title = _("who")
    parameter_name = column = "actor"
    newest = NEWEST


@admin.register(EntityChange)
class EntityChangeAdmin(ReadOnlyAdmin):
    """Written by triggers; put back on the page of the row."""

    icon = "account_tree"
    empty_hint = _("Whenever a value changes, this list says who changed it, and because of which message.")
    in_palette = False
    list_display = ("created_at", "row", "shown_field", "before", "after", "writer", "sentence")
    list_display_links = None
    list_filter = (ByType, ("kind", ChoicesDropdownFilter), ByActor, ("created_at", DateRange))
    list_filter_submit = True
    search_fields = ("=entity_id", "=turn_id", "=conversation_id", "=message_id")
    search_help_text = _("Id of a row, a turn, a conversation or a message")
    ordering = NEWEST
    sortable_by = ()
    list_per_page = 50
    actions = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[EntityChange]:
        return story.telling(super().get_queryset(request))

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """The rows of a page by name: one question for each table."""
        page = super().get_changelist_instance(request)
        changes = list(page.result_list)
        for model in loader.models():
            theirs = [change for change in changes if change.entity_type == loader.type_of(model)]
            rows = model._default_manager.in_bulk({change.entity_id for change in theirs})
            names = story.Names(model, theirs)
            for change in theirs:
                change.named = columns.shortened(str(rows.get(change.entity_id, "–")), 40)
                change.was, change.became = (names.shown(change.field, v) for v in (change.previous, change.value))
        page.result_list = changes
        return page

    @display(description=_("row"))
    def row(self, change: Any) -> str:
        model = loader.model_of(change.entity_type)
        if model is None:
            return plain(change.entity_type)
        page = columns.page_of(model, change.entity_id)
        name = getattr(change, "named", "–")
        return format_html('{} <a class="place" href="{}"><bdi>{}</bdi></a>', model._meta.verbose_name, page, name)

    @display(description=_("field"))
    def shown_field(self, change: EntityChange) -> str:
        return story.label(loader.model_of(change.entity_type), change.field)

    @display(description=_("before"))
    def before(self, change: Any) -> str:
        return columns.shortened(getattr(change, "was", None))

    @display(description=_("after"))
    def after(self, change: Any) -> str:
        return columns.shortened(getattr(change, "became", None))

    @display(description=_("who"))
    def writer(self, change: EntityChange) -> str:
        return story.who(change)

    @display(description=_("said in"))
    def sentence(self, change: EntityChange) -> str:
        page = places.page_of("message", change.message_id)
        return format_html('<a class="place" href="{}">{}</a>', page, _("show me the sentence")) if page else "–"
