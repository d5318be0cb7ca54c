"""Models and the progress of a switch between two of them."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST

from config.admin import ReadOnlyAdmin, display
from search import embedders, spaces, staff
from search.embedders.states import states
from search.models import Space, Status
from search.page.showing import Progress

COLOURS = {"active": "success", "building": "info", "retired": ""}
URL = "admin:search_space_changelist"


@admin.register(Space)
class SpaceAdmin(ReadOnlyAdmin):
    """Which model's vectors serve, which are being made, and what keeps them from it."""

    icon = "deployed_code"
    in_palette = False
    list_display = ["shown", "shown_status", "entries", "embedded", "pending", "failed", "counted_at", "trouble"]
    list_display_links = ["shown"]
    list_filter = ["status"]
    ordering = ["-id"]
    list_before_template = "search/spaces.html"
    fieldsets = [
        (None, {"fields": ["model", "dimensions", "shown_status", "error", "error_at", "failures", "paused_until"]}),
        (_("Entries"), {"fields": ["entries", "embedded", "pending", "failed", "stale", "counted_at", "took"]}),
        (_("Life"), {"fields": ["created_at", "copied_at", "activated_at", "retired_at", "cleared_at"]}),
    ]

    def has_resume_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("search.change_space")

    @display(description=_("model"), ordering="model")
    def shown(self, space: Space) -> str:
        return str(space)

    @display(description=_("status"), ordering="status", label=COLOURS)
    def shown_status(self, space: Space) -> tuple[str, str]:
        return space.status, str(Status(space.status).label)

    @display(description=_("counting took, ms"))
    def took(self, space: Space) -> str:
        return f"{space.counting_ms:.1f}" if space.counting_ms is not None else "–"

    @display(description=_("trouble"))
    def trouble(self, space: Space) -> str:
        return space.error if len(space.error) <= 100 else f"{space.error[:99]}…"

    def get_urls(self) -> list[Any]:
        resume = self.admin_site.admin_view(self.resume)
        return [path("resume/", resume, name="search_space_resume"), *super().get_urls()]

    @method_decorator(require_POST)
    def resume(self, request: HttpRequest) -> HttpResponse:
        """The button: switch to the model of the settings, and try again whatever was given up."""
        if not self.has_resume_permission(request):
            raise PermissionDenied
        again = staff.resume(by=request.user.get_username())
        messages.success(request, _("The embedder is asked again from now on."))
        if again:
            told = ngettext("%d refused text is tried once more.", "%d refused texts are tried once more.", again)
            messages.success(request, told % again)
        return redirect(URL)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        embedder = embedders.current()
        living = [space for space in (spaces.serving(), spaces.building()) if space is not None]
        now = {
            "living": [Progress(space) for space in living],
            "wanted": f"{embedder.model} ({embedder.dimensions})" if embedder else "",
            "states": states(),
            "may_resume": self.has_resume_permission(request),
        }
        response: HttpResponse = super().changelist_view(request, {**(extra_context or {}), "search_now": now})
        return response
