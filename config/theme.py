"""The admin's theme in one place, so that it can be swapped (ADR 0004): Unfold and what it needs from settings."""

from typing import Any

from django.urls import reverse_lazy
from django.utils.translation import gettext_lazy as _

APPS = ["unfold", "unfold.contrib.filters"]

OPTIONS: dict[str, Any] = {
    "SITE_TITLE": "Parley",
    "SITE_HEADER": "Parley",
    "SITE_SUBHEADER": _("agents that listen before they answer"),
    "SITE_SYMBOL": "forum",
    "SITE_URL": reverse_lazy("admin:index"),
    "SHOW_LANGUAGES": True,
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "BORDER_RADIUS": "8px",
    "COMMAND": {"search_models": True, "show_history": False},
    "SIDEBAR": {"show_search": True, "command_search": True, "show_all_applications": False},
}
