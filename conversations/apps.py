"""Registers the `conversations` app."""

from typing import Any

from django.apps import AppConfig
from django.db import connections
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class ConversationsConfig(AppConfig):
    name = "conversations"
    verbose_name = _("Conversations")
    about = _("What people and agents said to each other, for ever and in order.")

    def ready(self) -> None:
        from conversations import approvals, metrics, recalling  # noqa: F401  declare numbers, sources, listeners
        from conversations.legacy import rejects  # noqa: F401  erasing takes them along

        post_migrate.connect(heal_isolation, sender=self)


def heal_isolation(using: str, **_: Any) -> None:
    """After every migrate: the client's role may have come later than the tables, or a restore left its rights out."""
    from config import rls

    with connections[using].cursor() as cursor:
        rls.heal(cursor)
