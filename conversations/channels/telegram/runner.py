"""Long polling: asks Telegram for updates, and confirms one to it only once it is committed."""

from __future__ import annotations

import concurrent.futures
import time
from collections.abc import Iterable
from typing import Any

import structlog
from django.db import InterfaceError, OperationalError, close_old_connections
from telegram import User
from telegram.error import Conflict, Forbidden, InvalidToken, NetworkError, RetryAfter, TelegramError

from conversations import bots
from conversations.channels import ChannelAwayError, ChannelUnavailableError, Order
from conversations.channels.telegram import NAME, client, commands, reading, updates
from conversations.channels.telegram.client import Client
from conversations.channels.telegram.reading import UnreadableError
from conversations.channels.telegram.transport import Telegram
from conversations.outage import Outage, StoppedError

logger = structlog.get_logger(__name__)

QUICKEST = 1.0  # seconds between two questions where the first brought nothing new
BACKOFF = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)  # seconds between two attempts after trouble; the last one repeats


def run(order: Order) -> None:
    """Serve the bot until asked to stop; what was fetched and not taken is fetched again by the next run."""
    bot = client.connected()
    try:
        me = _introduced(bot)
        with bots.alive(NAME, f"@{me.username}"), _outage(bot, order) as outage:
            order.ready(f"Telegram bot @{me.username} listens by long polling")
            _poll(bot, order, outage)
    finally:
        bot.close()


def _outage(bot: Client, order: Order) -> Outage:
    """What stands in for the database while it is away."""
    return Outage(
        order,
        str(bot.bot_id),
        take=lambda raw: updates.take(raw, bot_id=bot.bot_id, agent_id=order.agent_id),
        heard=updates.without_database,
        place=lambda raw: updates.place(raw, bot_id=bot.bot_id, agent_id=order.agent_id),
        transport=lambda: Telegram(bot),
    )


def _introduced(bot: Client) -> User:
    """Who we are; a wrong token, a webhook in the way and a dead network are told before anything begins."""
    try:
        me = bot.call(bot.bot.get_me())
        hook = bot.call(bot.bot.get_webhook_info())
        if hook.url:
            raise ChannelUnavailableError(
                f"@{me.username} has a webhook, and Telegram brings updates there or here, not to both. "
                "`manage.py telegram unhook` removes it."
            )
    except InvalidToken as error:
        raise ChannelUnavailableError("Telegram refuses TELEGRAM_BOT_TOKEN: is it the whole one?") from error
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise ChannelUnavailableError(
            f"What answers at TELEGRAM_API_URL does not tell who the bot is as the Bot API does: {str(error)[:200]}"
        ) from error
    except (TelegramError, concurrent.futures.TimeoutError) as error:
        raise ChannelAwayError(f"Telegram cannot be reached: {bot.hidden(str(error))[:200]}") from error
    _publish_menu(bot)
    return me


def _publish_menu(bot: Client) -> None:
    """The commands Telegram offers while one types; they work without it."""
    try:
        commands.publish(bot)
    except (TelegramError, concurrent.futures.TimeoutError) as error:
        logger.warning("telegram.menu_refused", reason=bot.hidden(f"{type(error).__name__}: {error}")[:200])


def _poll(bot: Client, order: Order, outage: Outage) -> None:
    offset: int | None = None
    troubles = 0
    asking = Asking(bot, order)
    while not order.stop.asked:
        asked_at, before = time.monotonic(), offset
        try:
            for raw in asking.updates(offset):
                accept(raw, outage)
                offset = _behind(raw, offset)
                if order.stop.wait(0):
                    return
            troubles = 0
            if offset == before:  # a server that holds no question open must not be asked in a tight loop
                order.stop.wait(max(0.0, QUICKEST - (time.monotonic() - asked_at)))
        except StoppedError:
            return
        except (TelegramError, OperationalError, InterfaceError) as error:
            pause = _pause(error, troubles)
            troubles += 1
            logger.warning("polling rests", seconds=pause, reason=bot.hidden(f"{type(error).__name__}: {error}")[:200])
            close_old_connections()
            order.stop.wait(pause)


class Asking:
    """A question for updates that whoever asks us to stop takes back."""

    def __init__(self, bot: Client, order: Order) -> None:
        self._bot, self._stop = bot, order.stop
        self._open: concurrent.futures.Future[list[dict[str, Any]]] | None = None
        order.stop.tell(self._take_back)

    def updates(self, offset: int | None) -> Iterable[dict[str, Any]]:
        """The next ones; none where we are asked to stop while Telegram has none."""
        self._open = self._bot.begin(self._bot.updates(offset))
        if self._stop.asked:
            self._take_back()
        try:
            return self._open.result()
        except concurrent.futures.CancelledError:
            return []

    def _take_back(self) -> None:
        if self._open is not None:
            self._open.cancel()


def accept(raw: dict[str, Any], outage: Outage) -> None:
    """Returns once it is committed or in the journal; raises StoppedError where it stays with Telegram."""
    try:
        outage.handle(raw, key=str(reading.identity(raw)[0]))
    except UnreadableError as error:
        logger.error("update unreadable", reason=str(error))


def _behind(raw: dict[str, Any], offset: int | None) -> int | None:
    number = raw.get("update_id")
    return number + 1 if isinstance(number, int) else offset


def _pause(error: Exception, troubles: int) -> float:
    match error:
        case RetryAfter():
            after = error.retry_after
            return float(after if isinstance(after, int) else after.total_seconds())
        case Conflict():
            logger.error("somebody else polls this bot, or a webhook was set")
        case InvalidToken() | Forbidden():
            logger.error("Telegram refuses the token")
        case NetworkError():
            pass
    return BACKOFF[min(troubles, len(BACKOFF) - 1)]
