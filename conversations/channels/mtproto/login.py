"""Signing in, once: phone number, code, and the second password where there is one. Only the session is kept."""

from __future__ import annotations

import getpass
import sys

from telethon import TelegramClient, errors

from conversations.channels import ChannelUnavailableError


async def sign_in(client: TelegramClient) -> None:
    """Ask at the terminal; a wrong answer may be corrected three times."""
    if not sys.stdin.isatty():
        raise ChannelUnavailableError("--login asks questions: run it in a terminal.")
    try:
        await client.start(
            phone=lambda: input("Phone number of the account, with country code: "),
            code_callback=lambda: input("Code that Telegram sent to it: "),
            password=lambda: getpass.getpass("Its second password: "),
            max_attempts=3,
        )
    except (errors.ApiIdInvalidError, errors.PhoneNumberInvalidError, errors.PhoneNumberBannedError) as error:
        raise ChannelUnavailableError(str(error)) from error
    except (RuntimeError, EOFError) as error:
        raise ChannelUnavailableError(f"Not signed in: {error}") from error
