"""Registers the `search` app, and the triggers that watch what others declare."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy


class SearchConfig(AppConfig):
    name = "search"
    verbose_name = pgettext_lazy("noun", "Search")
    about = _("What can be found, and how much of it is indexed.")

    def ready(self) -> None:
        from config import dashboard, health, navigation, starting
        from search import figures, metrics, rules, warming, watching  # noqa: F401  declare what the start page tells
        from search.embedders import checks  # noqa: F401  registers the system checks
        from search.page.permissions import may_search

        page = navigation.Page("search", pgettext_lazy("noun", "Search"), "search_find", "search", may_search, asks="q")
        navigation.PAGES.append(page)
        health.NOTICES.append(metrics.coverage)
        starting.PREPARATIONS.append(warming.warm_where_used)
        dashboard.CHECKS |= {"vectors": _("Index of vectors"), "search": _("Search coverage")}
        post_migrate.connect(watching.watch_declared, sender=self, dispatch_uid="search.watch_declared")
