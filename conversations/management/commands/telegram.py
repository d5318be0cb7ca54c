"""`manage.py telegram`: sets, removes and shows the webhook."""

from __future__ import annotations

import concurrent.futures
from argparse import ArgumentParser
from typing import Any
from urllib.parse import urlsplit

from django.core.management.base import BaseCommand, CommandError
from django.urls import reverse

from conversations.channels import ChannelError


class Command(BaseCommand):
    help = "Sets, removes and shows the webhook of the bot that TELEGRAM_BOT_TOKEN names."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        hook = actions.add_parser("hook", help="let Telegram bring updates to this site")
        hook.add_argument("site", help="its public address: https://parley.example.org")
        hook.add_argument("--drop-pending", action="store_true", help="forget what waits at Telegram")
        actions.add_parser("unhook", help="remove the webhook; `bot --channel telegram` can poll again")
        actions.add_parser("status", help="who the bot is, and how its updates come")

    def handle(self, *args: Any, **options: Any) -> None:
        from telegram.error import TelegramError

        from conversations.channels.telegram import client

        try:
            bot = client.connected()
        except ChannelError as error:
            raise CommandError(str(error)) from error
        try:
            getattr(self, options["action"])(bot, **options)
        except (TelegramError, concurrent.futures.TimeoutError) as error:
            raise CommandError(f"Telegram says: {bot.hidden(str(error)) or type(error).__name__}") from error
        finally:
            bot.close()

    def hook(self, bot: Any, *, site: str, drop_pending: bool, **_options: Any) -> None:
        from conversations.channels.telegram import commands, webhook

        secret = webhook.secret(bot.bot_id)
        if not webhook.SECRET.fullmatch(secret):
            raise CommandError("TELEGRAM_WEBHOOK_SECRET takes 1 to 256 letters, digits, _ and -.")
        if urlsplit(site).scheme != "https":
            raise CommandError("Telegram brings updates to https addresses alone.")
        url = site.rstrip("/") + reverse("telegram-webhook", args=[bot.bot_id])
        bot.call(bot.bot.set_webhook(url, secret_token=secret, drop_pending_updates=drop_pending))
        commands.publish(bot)
        self.stdout.write(f"Telegram brings updates to {url}")

    def unhook(self, bot: Any, **_options: Any) -> None:
        bot.call(bot.bot.delete_webhook())
        self.stdout.write("No webhook. `manage.py bot --channel telegram` polls.")

    def status(self, bot: Any, **_options: Any) -> None:
        me, hook = bot.call(bot.bot.get_me()), bot.call(bot.bot.get_webhook_info())
        self.stdout.write(f"@{me.username} ({me.id})")
        self.stdout.write(f"webhook: {hook.url or 'none'}, {hook.pending_update_count} updates wait at Telegram")
        if hook.last_error_message:
            self.stdout.write(f"last error, {hook.last_error_date:%Y-%m-%d %H:%M} UTC: {hook.last_error_message}")
