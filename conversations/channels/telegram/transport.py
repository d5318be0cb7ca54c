"""Sends one part to Telegram, and says what it knows of how that ended."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import httpx
import structlog
from django.conf import settings
from telegram import LinkPreviewOptions, ReplyParameters
from telegram.constants import ChatAction, ParseMode
from telegram.error import BadRequest, ChatMigrated, Forbidden, InvalidToken, NetworkError, RetryAfter, TelegramError

from conversations import sessions
from conversations.channels import Address, Later, Lost, Refused, Result, Sent
from conversations.channels.telegram import NAME, client
from conversations.channels.telegram.client import Client
from conversations.channels.telegram.markup import html

logger = structlog.get_logger(__name__)

LIMIT = 4096  # UTF-16 units, counted after markup is taken out
TYPING_WITHIN = 5.0  # seconds: a sign that comes later is of no use
BAD_TOKEN = 60.0  # seconds until a refused token is tried again
NOBODY = ("chat not found", "user is deactivated", "user not found", "peer_id_invalid", "group chat was deactivated")
BAD_MARKUP = ("can't parse entities", "unsupported start tag", "can't find end")
NEVER_LEFT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
NO_PREVIEW = LinkPreviewOptions(is_disabled=True)  # what an agent writes makes nobody fetch an address


def connect() -> Telegram:
    return Telegram(client.connected())


class Telegram:
    """The transport of one bot."""

    limit = LIMIT

    def __init__(self, client: Client) -> None:
        self.client = client

    def send(self, address: Address, text: str, *, key: str) -> Result:  # noqa: ARG002  Telegram knows no keys
        result = self._send(address, html(text), parse_mode=ParseMode.HTML)
        if isinstance(result, Refused) and any(words in result.reason.lower() for words in BAD_MARKUP):
            logger.warning("markup refused, sent as plain text", conversation=str(address.conversation_id))
            return self._send(address, text, parse_mode=None)
        return result

    def show_typing(self, address: Address) -> None:
        where = {name: value for name, value in _where(address).items() if name != "reply_parameters"}
        try:
            self.client.call(self.client.bot.send_chat_action(action=ChatAction.TYPING, **where), TYPING_WITHIN)
        except (TelegramError, concurrent.futures.TimeoutError) as error:
            logger.debug("typing not shown", reason=type(error).__name__)

    def gaps(self, address: Address) -> tuple[timedelta, timedelta]:
        """As Telegram asks: a message a second to a chat, twenty a minute to a group, thirty a second in all."""
        group = address.chat_id is not None and address.chat_id < 0
        gap = settings.TELEGRAM_GROUP_GAP if group else settings.TELEGRAM_CHAT_GAP
        return timedelta(seconds=gap), timedelta(seconds=1 / settings.TELEGRAM_MESSAGES_PER_SECOND)

    def close(self) -> None:
        self.client.close()

    def _send(self, address: Address, text: str, *, parse_mode: str | None) -> Result:
        call = self.client.bot.send_message(
            text=text, parse_mode=parse_mode, link_preview_options=NO_PREVIEW, **_where(address)
        )
        try:
            message = self.client.call(call)
        except ChatMigrated as error:
            _moved(address, error.new_chat_id)
            return Later(0.0, "The group became a supergroup.")
        except TelegramError as error:
            return _said(error, self.client.hidden(str(error)))
        except (concurrent.futures.TimeoutError, asyncio.CancelledError, concurrent.futures.CancelledError):
            return Lost("Telegram did not answer in time.")
        return Sent(str(message.message_id))


def _said(error: TelegramError, reason: str) -> Result:
    """What an error tells about the message. The order matters: most of them are network errors by class."""
    match error:
        case RetryAfter():
            after = error.retry_after
            return Later(after.total_seconds() if isinstance(after, timedelta) else float(after), reason)
        case Forbidden():
            return Refused(reason, gone=True)
        case BadRequest():
            return Refused(reason, gone=any(words in reason.lower() for words in NOBODY))
        case InvalidToken():
            return Later(BAD_TOKEN, reason, everybody=True)
        case NetworkError():
            return _broke_off(error, reason)
    return Lost(reason)


def _broke_off(error: NetworkError, reason: str) -> Result:
    cause = error.__cause__
    if isinstance(cause, NEVER_LEFT):
        return Later(0.0, f"Telegram cannot be reached: {type(cause).__name__}", everybody=True)
    if cause is None:
        return Later(0.0, reason)  # an answer of the Bot API itself, of the 5xx kind: it was not done
    if isinstance(cause, httpx.HTTPError):
        return Lost(f"The connection broke before Telegram answered ({type(cause).__name__}).")
    answer = reason.partition(". Parsing the server response")[0]
    return Lost(f"Something between us and Telegram answered in its place: {answer}")


def _where(address: Address) -> dict[str, Any]:
    """The chat, and in it the topic, the business account and the message that is answered (`updates.remember`)."""
    known: Mapping[str, Any] = address.metadata.get(NAME) or {}
    where: dict[str, Any] = {"chat_id": address.user_id if address.chat_id is None else address.chat_id}
    if thread := known.get("thread_id"):
        where["message_thread_id"] = thread
    if connection := known.get("business_connection_id"):
        where["business_connection_id"] = connection
    if answered := known.get("reply_to"):
        where["reply_parameters"] = ReplyParameters(answered, allow_sending_without_reply=True)
    return where


def _moved(address: Address, new_chat_id: int) -> None:
    if address.chat_id is not None:
        sessions.move_chat(NAME, address.chat_id, new_chat_id)
