"""The admin's menu: every page a person may see, by room, the room nearest to people first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _

PLAIN_ICON = "table_rows"


@dataclass(frozen=True)
class Page:
    """A page of a room that is no model's list. Rooms append theirs to PAGES in their AppConfig.ready()."""

    room: str
    title: str | Promise
    url_name: str
    icon: str
    allowed: Callable[[HttpRequest], bool] = lambda request: request.user.is_staff
    asks: str = ""  # the parameter of a page that answers questions: the palette hands it what was typed


PAGES: list[Page] = []


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """Groups of links as the theme draws them."""
    home = {"title": _("Overview"), "icon": "home", "link": reverse("admin:index")}
    groups = [
        {"title": room["name"], "separator": True, "items": _pages(request, label) + _lists(room)}
        for label, room in rooms(request).items()
    ]
    return [{"items": [home]}, *groups]


def rooms(request: HttpRequest) -> dict[str, dict[str, Any]]:
    """The apps a person may see, in the order of the menu: the last room of the settings stands highest."""
    seen = {room["app_label"]: room for room in admin.site.get_app_list(request)}
    for page in PAGES:
        if page.allowed(request) and page.room not in seen:
            app = apps.get_app_config(page.room)
            seen[page.room] = {"app_label": page.room, "name": app.verbose_name, "models": []}
    order = [app.label for app in apps.get_app_configs()]
    ours = [label for label in reversed(order) if hasattr(apps.get_app_config(label), "about")]
    return {label: seen[label] for label in [*ours, *(label for label in order if label not in ours)] if label in seen}


def _pages(request: HttpRequest, room: str) -> list[dict[str, Any]]:
    return [
        {"title": page.title, "icon": page.icon, "link": reverse(page.url_name)}
        for page in PAGES
        if page.room == room and page.allowed(request)
    ]


def _lists(room: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "title": entry["name"],
            "icon": icon(entry["model"]),
            "link": entry["admin_url"],
            "active": partial(_is_in, entry["admin_url"]),
        }
        for entry in room["models"]
        if entry["admin_url"]
    ]


def _is_in(link: str, request: HttpRequest) -> bool:
    """Any page below a list is the list's, but for those that stand in the menu by themselves."""
    return request.path.startswith(link) and request.path not in {reverse(page.url_name) for page in PAGES}


def icon(model: Any) -> str:
    return getattr(admin.site._registry.get(model), "icon", PLAIN_ICON)
