"""The loop of `bot --channel mtproto`: hears for the account, stores, marks read, and sends what the outbox has."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import structlog
from django.db import DatabaseError, InterfaceError, connection
from telethon import TelegramClient, errors, events

from conversations import bots, delivering
from conversations.channels import ChannelAwayError, ChannelUnavailableError, Order
from conversations.channels.mtproto import NAME, account, updates
from conversations.channels.mtproto.login import sign_in
from conversations.channels.mtproto.transport import Wire
from conversations.outage import Outage, StoppedError

logger = structlog.get_logger(__name__)

AGAIN_AFTER = 2.0  # seconds until the outbox is looked at again after an outage
MOST_UNREAD = 1000  # messages of one chat that are fetched after an absence


def run(order: Order) -> None:
    asyncio.run(_login(order) if order.login else _serve(order, account.make_client()))


async def _login(order: Order) -> None:
    client = account.make_client()
    try:
        await sign_in(client)
        me = await client.get_me()
        order.ready(f"Signed in as {me.first_name} ({me.id}); the session is in {account.session_file()}")
    finally:
        await client.disconnect()


async def _serve(order: Order, client: TelegramClient) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    order.stop.tell(lambda: loop.call_soon_threadsafe(stopped.set))
    me = await _connected(client)
    wire = Wire(client, loop)
    outage = Outage(
        order,
        str(me.id),
        take=partial(updates.take, order),
        heard=updates.heard,
        place=partial(updates.place, order),
        transport=lambda: wire,
    )
    try:
        with bots.alive(NAME, str(me.id)):
            await asyncio.to_thread(_entered, outage)
            try:
                await _listen(client, order, outage, wire, stopped)
            finally:
                await asyncio.to_thread(outage.__exit__, None, None, None)
    finally:
        await client.disconnect()


def _entered(outage: Outage) -> None:
    """Off the loop: it reads the journal and asks the database for the agent."""
    try:
        outage.__enter__()
    finally:
        connection.close()


async def _listen(client: TelegramClient, order: Order, outage: Outage, wire: Wire, stopped: asyncio.Event) -> None:
    """Until somebody asks to stop, or Telegram is gone."""
    ears = Ears(client, outage)
    sender = threading.Thread(target=_send, args=(order, wire), name="sending", daemon=True)
    sender.start()
    await ears.listen()
    order.ready(f"Serving the account {outage.account} on {NAME}")
    ends = [asyncio.ensure_future(stopped.wait()), asyncio.ensure_future(_lost(client)), ears.storing]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    asked = stopped.is_set()
    order.stop.ask()
    await ears.close()
    await asyncio.to_thread(sender.join)
    if not asked:
        raise ChannelAwayError("The connection to Telegram is lost.")


async def _connected(client: TelegramClient) -> Any:
    try:
        await client.connect()
        if not await client.is_user_authorized():
            await client.disconnect()
            raise ChannelUnavailableError("The account is not signed in: manage.py bot --channel mtproto --login")
        return await client.get_me()
    except (OSError, errors.ServerError) as error:
        raise ChannelAwayError(f"Telegram does not answer: {error}") from error
    except errors.AuthKeyError as error:
        raise ChannelUnavailableError(f"The session is not valid any more ({error}): sign in again.") from error


async def _lost(client: TelegramClient) -> None:
    await client.disconnected


def _send(order: Order, wire: Wire) -> None:
    """What the outbox has for this account, through outages of the database."""
    try:
        while not order.stop.asked:
            try:
                delivering.serve(NAME, wire, order.stop)
            except (DatabaseError, InterfaceError) as error:
                logger.warning("the outbox is away", reason=type(error).__name__)
                connection.close()
                order.stop.wait(AGAIN_AFTER)
    finally:
        connection.close()


class Ears:
    """Hears on the loop and stores in one thread, in order; typing goes past the messages, since it is worth nothing
    later."""

    def __init__(self, client: TelegramClient, outage: Outage) -> None:
        self.client, self.outage = client, outage
        self.heard: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self.thread, self.aside = ThreadPoolExecutor(1, "storing"), ThreadPoolExecutor(1, "typing")

    async def listen(self) -> None:
        """Updates from now on, and what came while nobody listened."""
        self.client.add_event_handler(self._message, events.NewMessage(incoming=True))
        self.client.add_event_handler(self._message, events.MessageEdited(incoming=True))
        self.client.add_event_handler(self._raw, events.Raw())
        self.storing = asyncio.create_task(self._store())
        await self._catch_up()

    async def close(self) -> None:
        await self.heard.put(None)
        await asyncio.wait([self.storing])
        for thread in (self.thread, self.aside):
            thread.submit(_close)
            thread.shutdown()

    async def _message(self, event: Any) -> None:
        sender = event.message.sender or await event.get_sender()
        if (update := account.said(event.message, sender)) is not None:
            await self.heard.put(update)

    async def _raw(self, update: Any) -> None:
        if (gone := account.deleted(update)) is not None:
            await self.heard.put(gone)
        elif (active := account.activity(update)) is not None and not self.outage.standing_in:
            self.aside.submit(_quietly, *active)

    async def _catch_up(self) -> None:
        """Unread is what we never stored: oldest first, as it was said."""
        async for dialog in self.client.iter_dialogs():
            if not dialog.is_user or not dialog.unread_count:
                continue
            unread = await self.client.get_messages(dialog.entity, limit=min(dialog.unread_count, MOST_UNREAD))
            for message in reversed(unread):
                if (update := account.said(message, dialog.entity)) is not None:
                    await self.heard.put(update)

    async def _store(self) -> None:
        loop = asyncio.get_running_loop()
        while (update := await self.heard.get()) is not None:
            handle = partial(self.outage.handle, update, key=updates.key(update))
            try:
                await loop.run_in_executor(self.thread, handle)
            except StoppedError:
                return  # it stays unread
            except Exception as error:
                logger.error("update refused", kind=update["kind"], reason=type(error).__name__, exc_info=error)
                continue
            if update["kind"] == "message":
                await self._mark_read(update)

    async def _mark_read(self, update: dict[str, Any]) -> None:
        try:
            peer = await self.client.get_input_entity(update["user_id"])
            await self.client.send_read_acknowledge(peer, max_id=update["id"])
        except (errors.RPCError, OSError, ValueError) as error:
            logger.warning("not marked read", reason=type(error).__name__)


def _close() -> None:
    connection.close()  # the thread's own: looked up in it


def _quietly(user_id: int, activity: str) -> None:
    """A sign that is lost costs some patience, no message."""
    try:
        updates.active(user_id, activity)
    except (DatabaseError, InterfaceError):
        connection.close()
