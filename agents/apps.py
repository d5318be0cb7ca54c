"""Registers the `agents` app, and its record of deeds with the ground floor."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class AgentsConfig(AppConfig):
    name = "agents"
    verbose_name = _("Agents")
    about = _("Who answers, with which tools, and the record of every deed.")

    def ready(self) -> None:
        from agents import audit, checks, figures, metrics, naming, rules  # noqa: F401  declare what others tell
        from config import dashboard, deeds, doctor, health

        deeds.LISTENERS.append(audit.record)
        doctor.THERE.append(checks.tools)
        health.NOTICES.append(checks.model)
        dashboard.CHECKS["model"] = _("Language model")
