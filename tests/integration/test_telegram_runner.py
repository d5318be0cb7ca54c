"""Long polling: an update is confirmed to Telegram only when it is ours, whatever dies in between."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import pytest
from django.db import OperationalError, connection

from conversations.channels import ChannelAwayError, ChannelUnavailableError, Order
from conversations.channels.telegram import runner, updates
from conversations.models import ChannelUpdate, Message
from tests.fake_telegram import BOT_ID, TOKEN, Fake, RefusalError, telegram, update
from tests.integration.test_crashes import environment
from tests.patience import PATIENCE
from tests.processes import ROOT, eventually

pytestmark = pytest.mark.django_db(transaction=True)
POLL = """
import django; django.setup()
from conversations.channels import Order
from conversations.channels.telegram.runner import run
run(Order("telegram"))
"""


@pytest.fixture
def fake(settings: Any) -> Iterator[Fake]:
    with telegram() as one:
        settings.TELEGRAM_BOT_TOKEN, settings.TELEGRAM_API_URL = TOKEN, one.url
        yield one


@contextmanager
def polling() -> Iterator[list[str]]:
    """The runner in a thread, from ready to stopped."""
    ready: list[str] = []
    order = Order("telegram", ready=ready.append)

    def serve() -> None:
        try:
            runner.run(order)
        finally:
            connection.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        eventually(lambda: ready, "the bot is ready")
        yield ready
    finally:
        order.stop.ask()
        thread.join(PATIENCE)
        assert not thread.is_alive(), "a question that Telegram holds open does not hold us"
        order.stop.close()


def said() -> list[str]:
    return list(Message.objects.filter(role="user").order_by("message_index").values_list("content", flat=True))


def test_updates_are_taken_in_order_and_confirmed_afterwards(fake: Fake) -> None:
    with polling() as ready:
        assert "@parley_test_bot" in ready[0]
        fake.tell(*[update(number, str(number)) for number in range(1, 251)])
        eventually(lambda: len(said()) == 250 and len(fake.confirmed) == 250, "all are ours and confirmed")
    assert said() == [str(number) for number in range(1, 251)]
    assert fake.calls["setMyCommands"] == 2


def test_while_the_database_is_away_nothing_is_confirmed_and_then_everything_arrives(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "BACKOFF", (0.01,))
    outages = iter(range(5))

    def away(_name: str) -> None:
        for _ in outages:
            assert fake.confirmed == [1], "what is not committed stays with Telegram"
            raise OperationalError

    with polling():
        fake.tell(update(1, "before"))
        eventually(lambda: said() == ["before"] and fake.confirmed == [1], "the first")
        with patch.object(updates, "crash_point", away):
            fake.tell(update(2, "during"), update(3, "after"))
            eventually(lambda: len(fake.confirmed) == 3, "the rest")
    assert said() == ["before", "during", "after"]


@pytest.mark.parametrize("point", ["before_accept", "after_accept"])
def test_a_bot_that_dies_around_the_commit_loses_nothing_and_stores_nothing_twice(fake: Fake, point: str) -> None:
    fake.tell(update(1, "one"), update(2, "two"))
    variables = {**environment(), "TELEGRAM_BOT_TOKEN": TOKEN, "TELEGRAM_API_URL": fake.url}
    died = subprocess.run(
        [sys.executable, "-c", POLL], cwd=ROOT, env={**variables, "CRASH_AT": point}, check=False, timeout=PATIENCE
    )
    assert died.returncode == 137
    assert fake.confirmed == []
    assert ChannelUpdate.objects.count() == (point == "after_accept")
    with polling():
        eventually(lambda: len(fake.confirmed) == 2, "a fresh one takes both")
    assert said() == ["one", "two"]


def test_a_webhook_in_the_way_a_wrong_token_and_no_network_are_told_before_it_begins(fake: Fake, settings: Any) -> None:
    fake.webhook = "https://elsewhere.example.org"
    with pytest.raises(ChannelUnavailableError, match="unhook"):
        runner.run(Order("telegram"))
    assert fake.webhook, "and never removed behind somebody's back"
    settings.TELEGRAM_BOT_TOKEN = f"{BOT_ID}:another_token_of_nobody"
    with pytest.raises(ChannelUnavailableError, match="refuses"):
        runner.run(Order("telegram"))
    settings.TELEGRAM_API_URL = "http://127.0.0.1:9"
    with pytest.raises(ChannelAwayError, match="cannot be reached") as caught:
        runner.run(Order("telegram"))
    assert not caught.value.permanent


@pytest.mark.parametrize("code", [404, 500])
def test_a_menu_that_cannot_be_published_is_no_reason_not_to_start(
    fake: Fake, monkeypatch: pytest.MonkeyPatch, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_params: object) -> None:
        raise RefusalError(code, "Not Found" if code == 404 else "Internal Server Error")

    monkeypatch.setattr(fake, "on_setMyCommands", refuse, raising=False)
    with polling():
        fake.tell(update(1, "one"))
        eventually(lambda: said() == ["one"], "it serves without it")
    assert "telegram.menu_refused" in caplog.text


def test_a_server_that_does_not_say_who_we_are_is_told_in_words(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake, "on_getMe", lambda _params: {"id": BOT_ID, "username": "x"}, raising=False)
    with pytest.raises(ChannelUnavailableError, match="TELEGRAM_API_URL"):
        runner.run(Order("telegram"))


@pytest.mark.parametrize("answer", [[], [update(1, "one")]], ids=["empty", "the same again"])
def test_a_server_that_answers_at_once_is_not_asked_without_a_pause(
    fake: Fake, monkeypatch: pytest.MonkeyPatch, answer: list[dict[str, Any]]
) -> None:
    asked: list[float] = []

    def at_once(_params: object) -> list[dict[str, Any]]:
        asked.append(time.monotonic())
        return answer

    monkeypatch.setattr(fake, "on_getUpdates", at_once, raising=False)
    with polling():
        eventually(lambda: len(asked) >= 4, "it goes on asking")
    assert asked[3] - asked[1] >= 1.5 * runner.QUICKEST


def test_trouble_at_telegram_is_waited_out(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "BACKOFF", (0.01,))
    troubles = iter(["reset"] * 4)
    with polling():
        fake.at_connect = lambda: next(troubles, None)
        fake.tell(update(1))
        eventually(said, "it came")


def test_what_is_no_update_does_not_hold_up_the_others(fake: Fake) -> None:
    with polling():
        fake.tell(update(1, "one"), {"update_id": 2, "message": "nonsense"}, update(3, "three"))
        eventually(lambda: len(fake.confirmed) == 3, "all confirmed")
    assert said() == ["one", "three"]
    assert ChannelUpdate.objects.get(update_id=2).outcome == "broken"
