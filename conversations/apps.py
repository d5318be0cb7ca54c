"""Registers the `conversations` app."""

from typing import Any

from django.apps import AppConfig
from django.db import connections
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _

from config import places

PAGES = {"conversation": "conversation_change", "message": "conversation_said", "turn": "turn_change"}


class ConversationsConfig(AppConfig):
    name = "conversations"
    verbose_name = _("Conversations")
    about = _("What people and agents said to each other, for ever and in order.")

    def ready(self) -> None:
        from conversations import approvals, metrics, recalling  # noqa: F401  declare numbers, sources, listeners

        for kind, page in PAGES.items():
            places.register(kind, f"admin:conversations_{page}")
        post_migrate.connect(heal_isolation, sender=self)


def heal_isolation(using: str, **_: Any) -> None:
    """After every migrate: the client's role may have come later than the tables, or a restore left its rights out."""
    from config import rls

    with connections[using].cursor() as cursor:
        rls.heal(cursor)
