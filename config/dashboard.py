"""The start page of the admin: what is here, and whether it works. The one hook where the dashboard plugs in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from config import health, navigation

CHECKS: dict[str, str | Promise] = {  # checks without a title here show their own name
    "database": _("Database"),
    "extension": _("Vector search"),
    "migrations": _("Schema is up to date"),
    "worker": _("Worker"),
    "queue": _("Queue"),
    "guard": _("Nothing can be dropped"),
    "backups": _("Backups"),
    "bots": _("Bots"),
    "outages": _("Answered without the database"),
    "deliveries": _("Deliveries"),
}


@dataclass(frozen=True)
class Door:
    """A page for machines and for people who program them."""

    title: str | Promise
    url_name: str
    says: str | Promise


DOORS = [
    Door("/healthz", "healthz", _("Does the process live?")),
    Door("/readyz", "readyz", _("Is everything it needs there?")),
    Door("/metrics", "metrics", _("Numbers for Prometheus.")),
]


def start_page(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Fill the start page; the theme calls this (config/theme.py, DASHBOARD_CALLBACK)."""
    return {
        **context,
        "title": _("Overview"),
        "rooms": [_room(label, entry) for label, entry in navigation.rooms(request).items()],
        "checks": [
            {"title": CHECKS.get(result.name, result.name), "result": result}
            for result in health.run([*health.READINESS, *health.NOTICES])
        ],
        "doors": [{"title": door.title, "says": door.says, "url": url} for door in DOORS if (url := _url(door))],
    }


def _room(label: str, entry: dict[str, Any]) -> dict[str, Any]:
    models = [{**model, "icon": navigation.icon(model["model"])} for model in entry["models"]]
    return {**entry, "models": models, "about": getattr(apps.get_app_config(label), "about", "")}


def _url(door: Door) -> str | None:
    try:
        return reverse(door.url_name)
    except NoReverseMatch:
        return None
