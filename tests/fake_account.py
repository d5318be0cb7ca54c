"""Telegram as a user account meets it, without a network: judges what it accepted, and tells what people do.

The private entrances of Telethon that tests need are here and nowhere else.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from telethon import TelegramClient, errors, functions
from telethon.sessions import MemorySession
from telethon.tl import types

from conversations.channels import Address
from conversations.channels.mtproto.transport import Wire
from tests.paper_channel import Fault, Stage

ME = types.User(1, is_self=True, first_name="Account", access_hash=11)


class FakeAccount(TelegramClient):  # type: ignore[misc]
    """A client whose other side is in this process."""

    def __init__(self) -> None:
        super().__init__(MemorySession(), 1, "hash", sequential_updates=True, flood_sleep_threshold=0)
        self._mb_entity_cache.set_self_user(ME.id, False, ME.access_hash)
        self.faults: deque[Fault] = deque()
        self.taken: list[tuple[int, str]] = []  # user, text
        self.typing: list[int] = []
        self.read: list[tuple[int, int]] = []  # user, up to which message
        self.unread: dict[int, list[types.Message]] = {}
        self.authorized = True
        self.connected_now = True
        self._numbers: dict[int, int] = {}
        self._gone: asyncio.Future[None] | None = None

    # --- what the runner asks of a client ---
    async def connect(self) -> None:
        self._gone = asyncio.get_running_loop().create_future()

    async def disconnect(self) -> None:
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)

    @property
    def disconnected(self) -> Any:
        return self._gone

    async def is_user_authorized(self) -> bool:
        return self.authorized

    async def get_me(self, **_options: Any) -> Any:
        return ME

    async def get_input_entity(self, peer: int) -> Any:
        return types.InputPeerUser(peer, 0)

    async def send_read_acknowledge(self, peer: Any, *, max_id: int) -> None:
        self.read.append((peer.user_id, max_id))

    async def iter_dialogs(self) -> AsyncIterator[Any]:
        for user_id, waiting in self.unread.items():
            yield SimpleNamespace(is_user=True, unread_count=len(waiting), entity=person(user_id))

    async def get_messages(self, entity: Any, limit: int) -> Any:
        return list(reversed(self.unread[entity.id]))[:limit]

    async def __call__(self, request: Any, **_options: Any) -> Any:
        if isinstance(request, functions.messages.SetTypingRequest):
            self.typing.append(request.peer.user_id)
            return True
        assert isinstance(request, functions.messages.SendMessageRequest), request
        fault = self.faults.popleft() if self.faults else None
        match fault:
            case "too many":
                raise errors.FloodWaitError(request, capture=3)
            case "unreachable":
                raise ConnectionError("Cannot send requests while disconnected")
            case "blocked":
                raise errors.UserIsBlockedError(request)
            case "malformed":
                raise errors.MessageEmptyError(request)
        if request.random_id in self._numbers:
            raise errors.RandomIdDuplicateError(request)
        self.taken.append((request.peer.user_id, request.message))
        number = self._numbers[request.random_id] = len(self.taken) + 100
        if fault == "answer lost":
            raise ConnectionError("Connection reset")
        return types.UpdateShortSentMessage(number, 1, 1, datetime.now(UTC), out=True)

    # --- what people do ---
    async def tell(self, update: Any, *users: types.User) -> None:
        """As when Telegram sent it."""
        await self._preprocess_updates([update], users, ())
        await self._dispatch_update(update)


def person(user_id: int, **more: Any) -> types.User:
    return types.User(user_id, first_name="Ada", last_name="L", access_hash=user_id * 1000, **more)


def message(user_id: int, id_: int, text: str, **more: Any) -> types.Message:
    peer = types.PeerUser(user_id)
    return types.Message(id_, peer, date=datetime.now(UTC), message=text, from_id=peer, **more)


def new(user_id: int, id_: int, text: str, **more: Any) -> types.UpdateNewMessage:
    return types.UpdateNewMessage(message(user_id, id_, text, **more), 1, 1)


@dataclass
class AccountStage:
    client: FakeAccount
    loop: asyncio.AbstractEventLoop
    address: Address = field(default_factory=lambda: Address(7, 7, UUID(int=7), {"mtproto": {"access_hash": "7000"}}))

    @property
    def transport(self) -> Wire:
        return Wire(self.client, self.loop)

    def fail(self, fault: Fault) -> None:
        self.client.faults.append(fault)

    def accepted(self) -> list[str]:
        return [text for _user, text in self.client.taken]


@contextmanager
def stage() -> Iterator[Stage]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield AccountStage(asyncio.run_coroutine_threadsafe(_made(), loop).result(), loop)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _made() -> FakeAccount:
    return FakeAccount()
