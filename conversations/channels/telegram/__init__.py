"""People in Telegram, by the Bot API (docs/telegram.md)."""

NAME = "telegram"
