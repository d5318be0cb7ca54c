"""Registers the `conversations` app."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ConversationsConfig(AppConfig):
    name = "conversations"
    verbose_name = _("Conversations")
    about = _("What people and agents said to each other, for ever and in order.")

    def ready(self) -> None:
        from conversations import metrics  # noqa: F401  declares its numbers
