"""Registers the `conversations` app."""

from typing import Any

from django.apps import AppConfig
from django.db import connections
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _

from config import places

PLACES = {"conversation": "conversation_change", "message": "conversation_said", "turn": "turn_change"}


class ConversationsConfig(AppConfig):
    name = "conversations"
    verbose_name = _("Conversations")
    about = _("What people and agents said to each other, for ever and in order.")

    def ready(self) -> None:
        from config.navigation import PAGES, Page
        from conversations import approvals, figures, metrics, naming, recalling, rules, searchable  # noqa: F401  declare what others call
        from conversations.legacy import rejects  # noqa: F401  erasing takes them along

        for kind, page in PLACES.items():
            places.register(kind, f"admin:conversations_{page}")
        PAGES.extend([
            Page(
                "conversations", _("Playground"), "admin:conversations_conversation_playground", "experiment",
                lambda request: request.user.has_perm("conversations.change_conversation"),
            ),
            Page(
                "conversations", _("Debounce tuner"), "admin:conversations_conversation_tuner", "tune",
                lambda request: request.user.has_perm("conversations.view_conversation"),
            ),
        ])  # fmt: skip
        post_migrate.connect(heal_isolation, sender=self)


def heal_isolation(using: str, **_: Any) -> None:
    """After every migrate: the client's role may have come later than the tables, or a restore left its rights out."""
    from config import rls

    with connections[using].cursor() as cursor:
        rls.heal(cursor)
