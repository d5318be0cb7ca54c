"""The start page of the admin: what goes on, whether it works, and what is here."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from config import figures, health, navigation
from config.figures import Chart, Hour, Shown

CHECKS: dict[str, str | Promise] = {  # checks without a title here show their own name
    "database": _("Database"),
    "extension": _("Vector search"),
    "migrations": _("Schema is up to date"),
    "worker": _("Worker"),
    "queue": _("Queue"),
    "guard": _("Nothing can be dropped"),
    "rules": _("Rules of the database"),
    "backups": _("Backups"),
    "bots": _("Bots"),
    "outages": _("Answered without the database"),
    "deliveries": _("Deliveries"),
}


LABELLED = 6  # every so many hours of a chart has its time written below


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
        **overview(request),
        "title": _("Overview"),
        "rooms": [_room(label, entry) for label, entry in navigation.rooms(request).items()],
        "doors": [{"title": door.title, "says": door.says, "url": url} for door in DOORS if (url := _url(door))],
    }


def overview(request: HttpRequest) -> dict[str, Any]:
    """What changes while somebody looks: alerts, checks, figures by group, the last day."""
    order = [app.label for app in apps.get_app_configs()]
    results = health.run([*health.READINESS, *health.NOTICES])
    checks = [{"title": CHECKS.get(result.name, result.name), "result": result} for result in results]
    shown = sorted(figures.shown(request), key=lambda one: -order.index(one.figure.room))  # as in the menu
    return {
        "checks": checks,
        "failing": [CHECKS.get(result.name, result.name) for result in results if not result.ok],
        "alerts": [one for one in shown if one.told and one.told.alert],
        "groups": [{"title": title, "shown": list(some)} for title, some in groupby(shown, key=_group)],
        "charts": [
            _drawn(chart, figures.hours(chart)) for chart in figures.CHARTS if request.user.has_perm(chart.permission)
        ],
    }


def refreshed(request: HttpRequest) -> HttpResponse:
    """The same part of the page anew. Whoever is logged out meanwhile is led to the login and not shown it in here."""
    if not admin.site.has_permission(request):
        return HttpResponse(status=204, headers={"HX-Refresh": "true"})
    return TemplateResponse(request, "config/overview.html", overview(request))


def _group(shown: Shown) -> str:
    return str(shown.figure.group)


def _drawn(chart: Chart, hours: list[Hour] | None) -> dict[str, Any]:
    """Bars in percent of the highest, and what to say in place of them."""
    highest = max((max(hour.numbers) for hour in hours or []), default=0)
    bars = [
        {"hour": hour, "heights": [f"{100 * number / max(highest, 1):.1f}%" for number in hour.numbers],
         "labelled": not hour.begins.hour % LABELLED}
        for hour in hours or []
    ]  # fmt: skip
    return {"chart": chart, "bars": bars, "missing": hours is None, "highest": highest, "page": reverse(chart.page)}


def _room(label: str, entry: dict[str, Any]) -> dict[str, Any]:
    models = [{**model, "icon": navigation.icon(model["model"])} for model in entry["models"]]
    return {**entry, "models": models, "about": getattr(apps.get_app_config(label), "about", "")}


def _url(door: Door) -> str | None:
    try:
        return reverse(door.url_name)
    except NoReverseMatch:
        return None
