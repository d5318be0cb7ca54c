"""Registers the `agents` app, and its record of deeds with the ground floor."""

from typing import Any

from django.apps import AppConfig
from django.contrib.auth.signals import user_logged_in
from django.utils.translation import gettext_lazy as _


class AgentsConfig(AppConfig):
    name = "agents"
    verbose_name = _("Agents")
    about = _("Who answers, with which tools, and the record of every deed.")

    def ready(self) -> None:
        from agents import audit, figures, naming  # noqa: F401  declare what others tell
        from config import deeds

        deeds.LISTENERS.append(audit.record)
        user_logged_in.connect(record_login, dispatch_uid="agents.record_login")


def record_login(user: Any, **_: Any) -> None:
    """Django tells of a login by signal alone."""
    from agents import audit

    audit.record("staff.login", user.get_username(), ("user", user.pk))
