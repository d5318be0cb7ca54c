"""The admin's theme in one place, so that it can be swapped (ADR 0004): Unfold and what it needs from settings."""

from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy
from django.utils.translation import gettext_lazy as _

APPS = ["unfold.apps.BasicAppConfig", "unfold.contrib.filters"]


def logo(_request: HttpRequest) -> str:
    return static("config/logo.svg")


def login_picture(_request: HttpRequest) -> str:
    return static("config/login.svg")


def styles(_request: HttpRequest) -> str:
    return static("config/admin.css")


def account_links(_request: HttpRequest) -> list[dict[str, Any]]:
    """The menu of whoever is logged in."""
    return [
        {"title": _("Change password"), "link": reverse_lazy("admin:password_change")},
        {"title": _("Second factor"), "link": reverse_lazy("admin:second_factor")},
    ]


# Teal, one step darker than Tailwind's, so that white on 600 and 500 on a dark page reach a contrast of 4.5 : 1.
TEAL = {
    "50": "oklch(98.4% .014 180.7)",
    "100": "oklch(95.3% .051 180.8)",
    "200": "oklch(91% .096 180.4)",
    "300": "oklch(85.5% .138 181.1)",
    "400": "oklch(77.7% .152 181.9)",
    "500": "oklch(66% .12 183.5)",
    "600": "oklch(51.1% .096 186.4)",
    "700": "oklch(43.7% .078 188.2)",
    "800": "oklch(38.6% .063 188.4)",
    "900": "oklch(33% .055 190)",
    "950": "oklch(27.7% .046 192.5)",
}

OPTIONS: dict[str, Any] = {
    "SITE_TITLE": "Parley",
    "SITE_HEADER": "Parley",
    "SITE_SUBHEADER": _("agents that listen before they answer"),
    "SITE_ICON": logo,
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": logo}],
    "SITE_URL": None,
    "SHOW_LANGUAGES": True,
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "BORDER_RADIUS": "8px",
    "COLORS": {"primary": TEAL},
    "STYLES": [styles],
    "LOGIN": {"image": login_picture, "form": "config.logins.LoginForm"},
    "ACCOUNT": {"navigation": "config.theme.account_links"},
    "DASHBOARD_CALLBACK": "config.dashboard.start_page",
    "COMMAND": {"search_models": True, "show_history": False},
    "SIDEBAR": {
        "show_search": True,
        "command_search": True,
        "show_all_applications": False,
        "navigation": "config.navigation.sidebar",
    },
}
