"""Registers the `search` app, and the triggers that watch what others declare."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class SearchConfig(AppConfig):
    name = "search"
    verbose_name = _("Search")
    about = _("What can be found, and how much of it is indexed.")

    def ready(self) -> None:
        from config import dashboard, health, navigation
        from search import metrics, watching
        from search.embedders import checks  # noqa: F401  registers the system checks
        from search.page.permissions import may_search

        page = navigation.Page("search", _("Search"), "search_find", "search", may_search, asks="q")
        navigation.PAGES.append(page)
        health.NOTICES.append(metrics.coverage)
        dashboard.CHECKS |= {"vectors": _("Index of vectors"), "search": _("Search coverage")}
        post_migrate.connect(watching.watch_declared, sender=self, dispatch_uid="search.watch_declared")
