"""The commands Telegram offers in its menu; what they do is the same in every channel (`conversations.commands`)."""

from __future__ import annotations

from telegram import BotCommand

from conversations.channels.telegram.client import Client

MENU = {
    "en": {"start": "Begin, or repeat where we are", "reset": "Start over", "help": "What this bot understands"},
    "ru": {"start": "Начать или повторить вопрос", "reset": "Начать заново", "help": "Что понимает этот бот"},
}


def publish(client: Client) -> None:
    """Let Telegram show them; a person's language decides which."""
    for language, menu in MENU.items():
        commands = [BotCommand(name, says) for name, says in menu.items()]
        client.call(client.bot.set_my_commands(commands, language_code=None if language == "en" else language))
