"""Telegram on the stage of the contract suite: the fake, and the real one where a token and a chat are given."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch
from uuid import UUID

import pytest
from django.test import override_settings

from conversations.channels import Address, Transport
from conversations.channels.telegram.transport import Telegram, connect
from tests.fake_telegram import TOKEN, Fake, telegram
from tests.paper_channel import Fault, Stage

FAULTS = {"too many": "429", "answer lost": "lost", "blocked": "403", "malformed": "bad"}


@dataclass
class FakeStage:
    transport: Transport
    server: Fake
    address: Address = field(default_factory=lambda: Address(7, 7, UUID(int=7)))

    def fail(self, fault: Fault) -> None:
        if fault == "unreachable":
            faults = iter(["reset"])
            self.server.at_connect = lambda: next(faults, None)
        else:
            self.server.faults.append(FAULTS[fault])

    def accepted(self) -> list[str]:
        return self.server.texts()


@contextmanager
def fake() -> Iterator[Stage]:
    with tempfile.TemporaryDirectory() as folder, telegram(tls=Path(folder)) as server:
        variables = patch.dict(os.environ, {"SSL_CERT_FILE": server.certificate})
        with variables, override_settings(TELEGRAM_BOT_TOKEN=TOKEN, TELEGRAM_API_URL=server.url):
            transport = connect()
        yield FakeStage(transport, server)
        transport.close()


@dataclass
class RealStage:
    """Telegram itself: faults cannot be ordered there, so only what it takes is compared."""

    transport: Telegram
    address: Address
    taken: list[str] = field(default_factory=list)

    def fail(self, _fault: Fault) -> None:
        pytest.skip("Telegram itself fails when it wants to")

    def accepted(self) -> list[str]:
        return self.taken


@contextmanager
def real() -> Iterator[Stage]:
    token, chat = os.environ.get("TELEGRAM_TEST_TOKEN"), os.environ.get("TELEGRAM_TEST_CHAT")
    if not token or not chat:
        pytest.skip("TELEGRAM_TEST_TOKEN and TELEGRAM_TEST_CHAT are not set")
    with override_settings(TELEGRAM_BOT_TOKEN=token):
        transport = connect()
    stage = RealStage(transport, Address(int(chat), 7, UUID(int=7)))
    send = transport.client.bot.send_message

    async def listening(*arguments: Any, **options: Any) -> Any:
        message = await send(*arguments, **options)
        stage.taken.append(message.text)
        return message

    with patch.object(type(transport.client.bot), "send_message", staticmethod(listening)):
        yield stage
    transport.close()
