"""Registers the `entities` app."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class EntitiesConfig(AppConfig):
    name = "entities"
    verbose_name = _("Entities")
    about = _("Tables of your own that grow with your agents.")

    def ready(self) -> None:
        from entities import checks, guarding  # noqa: F401  registers the system checks

        post_migrate.connect(guarding.bind, sender=self, dispatch_uid="entities.guarding")
