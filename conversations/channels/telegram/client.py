"""The Bot API for synchronous code: python-telegram-bot in an event loop of its own, in a thread of its own."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar
from urllib.parse import urlencode

from django.conf import settings

os.environ.setdefault("PTB_TIMEDELTA", "true")  # periods as the library's next release has them, and no warning of it

from telegram import Bot, Update
from telegram.error import InvalidToken
from telegram.request import HTTPXRequest

from conversations.channels import ChannelUnavailableError

TOKEN = re.compile(r"(\d{1,19}):[A-Za-z0-9_-]{20,}")
CONNECT, WRITE, READ, POOL = 5.0, 5.0, 15.0, 2.0  # seconds; together less than a lease leaves (delivering.SURELY)
WITHIN = 29.0  # seconds for any call, whatever happens
POLL = 25  # seconds Telegram holds a question for updates open
MOST = 100  # updates of one answer

logging.getLogger("telegram.request.BaseRequest").setLevel(logging.CRITICAL)  # tracebacks of what it raises as well

Answer = TypeVar("Answer")


class Client:
    """One bot; shared by the threads of a process and not across a fork."""

    def __init__(self, token: str, url: str) -> None:
        self.token = token
        self.bot_id = bot_id_of(token)
        self._calls = HTTPXRequest(
            connection_pool_size=16, connect_timeout=CONNECT, write_timeout=WRITE, read_timeout=READ, pool_timeout=POOL
        )
        self._polls = HTTPXRequest(connection_pool_size=1, connect_timeout=CONNECT, read_timeout=POLL + READ)
        self.bot = Bot(token, f"{url}/bot", f"{url}/file/bot", self._calls, self._polls)
        self._updates_url = f"{url}/bot{token}/getUpdates"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="telegram", daemon=True)
        self._thread.start()

    def call(self, coroutine: Coroutine[Any, Any, Answer], within: float = WITHIN) -> Answer:
        """Wait for it here while it runs there."""
        future = self.begin(coroutine)
        try:
            return future.result(within)
        finally:
            future.cancel()

    def begin(self, coroutine: Coroutine[Any, Any, Answer]) -> Future[Answer]:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    async def updates(self, offset: int | None, *, wait: int = POLL) -> list[dict[str, Any]]:
        """What has come since, as it came: one update that the library cannot read must not hide the others."""
        asked = {"timeout": wait, "limit": MOST, "allowed_updates": json.dumps(Update.ALL_TYPES)}
        if offset is not None:
            asked["offset"] = offset
        answer: Any = await self._polls.post(f"{self._updates_url}?{urlencode(asked)}", read_timeout=wait + READ)
        return list(answer)

    def hidden(self, text: str) -> str:
        """The text without the token: addresses hold it, and errors quote addresses."""
        return text.replace(self.token, "<token>")

    def close(self) -> None:
        async def shut() -> None:
            await self._calls.shutdown()
            await self._polls.shutdown()

        self.call(shut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(POOL)
        self._loop.close()


def connected() -> Client:
    """The bot that the settings name; nothing is asked of Telegram yet."""
    return Client(token(), settings.TELEGRAM_API_URL)


def token() -> str:
    given: str = settings.TELEGRAM_BOT_TOKEN
    if not given:
        raise ChannelUnavailableError("TELEGRAM_BOT_TOKEN is not set. @BotFather gives one; see docs/telegram.md.")
    bot_id_of(given)
    return given


def bot_id_of(token: str) -> int:
    """The bot's id, which every token begins with."""
    found = TOKEN.fullmatch(token)
    if found is None:
        raise ChannelUnavailableError(
            "TELEGRAM_BOT_TOKEN is no token: they look like 123456789:AAF0x… and hold no space."
        )
    return int(found[1])


__all__ = ["Client", "InvalidToken", "bot_id_of", "connected", "token"]
