"""Sends as the account. Telegram knows a repeat by its random id, which is made of the key: a lost answer costs nothing
but another attempt."""

from __future__ import annotations

import asyncio
import concurrent.futures
import hashlib
from typing import Any

from telethon import TelegramClient, errors, functions
from telethon.tl import types

from conversations.channels import Address, ChannelUnavailableError, Later, Refused, Result, Sent
from conversations.channels.mtproto import NAME

ANSWERS_WITHIN = 20.0  # seconds
TYPING_WITHIN = 5.0
SPAM_PAUSE = 3600.0  # seconds after Telegram said that we write to too many strangers
GONE = (
    errors.UserIsBlockedError,
    errors.YouBlockedUserError,
    errors.InputUserDeactivatedError,
    errors.UserPrivacyRestrictedError,
    errors.UserDeletedError,
)


def connect() -> Wire:
    raise ChannelUnavailableError("Only the bot of the account can send: manage.py bot --channel mtproto.")


class Wire:
    """Called from other threads than the one of the client's loop."""

    limit = 4096

    def __init__(self, client: TelegramClient, loop: asyncio.AbstractEventLoop) -> None:
        self.client, self.loop = client, loop

    def send(self, address: Address, text: str, *, key: str) -> Result:  # noqa: PLR0911  one line per kind
        number = random_id(key)
        request = functions.messages.SendMessageRequest(peer(address), text, random_id=number, no_webpage=True)
        try:
            return Sent(_sent_as(self._ask(request, ANSWERS_WITHIN), number))
        except errors.RandomIdDuplicateError:
            return Sent(str(number))  # it had arrived the first time
        except errors.FloodWaitError as error:
            return Later(float(error.seconds), f"Telegram asks for {error.seconds} s of silence", everybody=True)
        except errors.PeerFloodError as error:
            return Later(SPAM_PAUSE, str(error), everybody=True)
        except GONE as error:
            return Refused(str(error), gone=True)
        except (errors.ServerError, errors.TimedOutError, errors.RpcCallFailError) as error:
            return Later(1.0, str(error))
        except (OSError, TimeoutError, concurrent.futures.TimeoutError, concurrent.futures.CancelledError) as error:
            return Later(1.0, f"{type(error).__name__}: {error}")  # a repeat of the key is known
        except errors.RPCError as error:
            return Refused(str(error))

    def show_typing(self, address: Address) -> None:
        request = functions.messages.SetTypingRequest(peer(address), types.SendMessageTypingAction())
        try:
            self._ask(request, TYPING_WITHIN)
        except (errors.RPCError, OSError, TimeoutError, concurrent.futures.TimeoutError):
            return

    def _ask(self, request: Any, seconds: float) -> Any:
        asked = asyncio.run_coroutine_threadsafe(self.client(request), self.loop)
        try:
            return asked.result(seconds)
        finally:
            asked.cancel()


def peer(address: Address) -> types.InputPeerUser:
    """The person, with the number that proves that they wrote to us."""
    known = address.metadata.get(NAME) or {}
    return types.InputPeerUser(address.user_id, int(known.get("access_hash") or 0))


def random_id(key: str) -> int:
    """63 bits of the key's digest: the same for every attempt, another for every part."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big") >> 1


def _sent_as(answer: Any, number: int) -> str:
    """The id Telegram gave the message."""
    if isinstance(answer, types.UpdateShortSentMessage):
        return str(answer.id)
    for update in getattr(answer, "updates", ()):
        if isinstance(update, types.UpdateMessageID) and update.random_id == number:
            return str(update.id)
    return str(number)
