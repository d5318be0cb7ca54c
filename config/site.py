"""The admin site: Unfold's, with a command palette that stays fast and fresh."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.http import urlencode
from unfold.dataclasses import SearchResult
from unfold.sites import UnfoldAdminSite

from config import dashboard, navigation
from config.second_factor import gate, pages
from config.text import plain

FOUND_PER_MODEL = 10


class Site(UnfoldAdminSite):  # type: ignore[misc]
    """What `django.contrib.admin` serves (config/apps.py names it)."""

    def has_permission(self, request: HttpRequest) -> bool:
        """The gate stands before every path of the admin already; a view that is served elsewhere is shut, too."""
        if not super().has_permission(request):
            return False
        return gate.standing(request) is gate.Standing.THROUGH or request.path == reverse(f"{self.name}:logout")

    def extra_urls(self) -> list[URLPattern]:
        return [
            path("second-factor/", pages.own, name="second_factor"),
            path("second-factor/code/", pages.ask, name="second_factor_code"),
            path("overview/", dashboard.refreshed, name="overview"),
        ]

    def search(self, request: HttpRequest, _extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Answer the command palette.

        Unfold's own keeps answers for five minutes whatever the language, pickled, and reads every matching row of
        every model to show the first hundred.
        """
        if "s" not in request.GET:  # the address of the app `search`, too: breadcrumbs lead here
            room: HttpResponse = self.app_index(request, "search")
            return room
        started = time.monotonic()
        text = request.GET.get("s", "").replace("\0", "").strip().lower()
        if not text:
            return HttpResponse()
        results = [
            *self._pages(request, text),
            *self._search_apps(self.get_app_list(request), text),
            *self._found_in_models(request, text),
        ]
        context = {
            "page_obj": (paginator := Paginator(results, max(len(results), 1))),
            "results": paginator.page(1),
            "page_counter": 0,
            "search_term": text,
            "execution_time": time.monotonic() - started,
            "command_show_history": False,
        }
        return TemplateResponse(
            request, "unfold/helpers/command_results.html", context, headers={"HX-Trigger": "search"}
        )

    def _pages(self, request: HttpRequest, text: str) -> Iterator[SearchResult]:
        """Pages of that name, and those that answer questions, whatever is asked."""
        for page in navigation.PAGES:
            if not page.allowed(request) or not (page.asks or text in str(page.title).lower()):
                continue
            link = reverse(page.url_name) + (f"?{urlencode({page.asks: text})}" if page.asks else "")
            room = str(apps.get_app_config(page.room).verbose_name)
            title = f"{page.title}: {plain(text)}" if page.asks else str(page.title)
            yield SearchResult(title=title, description=room, link=link, icon=page.icon)

    def _found_in_models(self, request: HttpRequest, text: str) -> Iterator[SearchResult]:
        """Rows of every model the person may see and whose admin wants to be searched from everywhere."""
        for room in self.get_app_list(request):
            for entry in room["models"]:
                model_admin = self._registry[entry["model"]]
                if not getattr(model_admin, "in_palette", False) or not model_admin.get_search_fields(request):
                    continue
                rows, _ = model_admin.get_search_results(request, model_admin.get_queryset(request), text)
                meta = entry["model"]._meta
                for row in rows[:FOUND_PER_MODEL]:
                    yield SearchResult(
                        title=plain(str(row)),
                        description=f"{room['name']}, {entry['name']}",
                        link=reverse(f"{self.name}:{meta.app_label}_{meta.model_name}_change", args=[row.pk]),
                        icon=model_admin.icon,
                    )
