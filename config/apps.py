"""Registers the ground floor as an app: its commands, checks, migrations and translations."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class GroundFloorConfig(AppConfig):
    name = "config"
    verbose_name = _("Operations")

    def ready(self) -> None:
        from config import checks  # noqa: F401  registers the system checks
