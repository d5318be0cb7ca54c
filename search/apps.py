"""Registers the `search` app."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class SearchConfig(AppConfig):
    name = "search"
    verbose_name = _("Search")
    about = _("What can be found, and how much of it is indexed.")

    def ready(self) -> None:
        from search.embedders import checks  # noqa: F401  registers the system checks
