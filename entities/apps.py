"""Registers the `entities` app."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class EntitiesConfig(AppConfig):
    name = "entities"
    verbose_name = _("Entities")
    about = _("Tables of your own that grow with your agents.")

    def ready(self) -> None:
        from config import health, reloading
        from entities import backup, checks, erasure, guarding, metrics, notes, rules, searchable  # noqa: F401  they declare
        from entities.mechanic import applying, proposing
        from entities.safety import guard, kept

        erasure.register()
        notes.register()
        searchable.declare_all()
        post_migrate.connect(guarding.bind, sender=self, dispatch_uid="entities.guarding")
        post_migrate.connect(kept.keep_what_stands, sender=self, dispatch_uid="entities.kept")
        proposing.register()
        reloading.GENERATIONS.append(applying.generation)
        health.NOTICES += [guard.guard, backup.backups]
