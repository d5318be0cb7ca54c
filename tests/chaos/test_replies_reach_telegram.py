"""Replies through a Telegram that breaks connections: none lost, none out of order, none twice that anybody knew of."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from config.queue import run_due
from conversations import delivering, takeover
from conversations.delivering import deliver
from conversations.models import Delivery
from tests.chaos.world import SEED
from tests.conversing import conversation
from tests.fake_telegram import TOKEN, Fake, telegram
from tests.integration.test_crashes import WORK, environment
from tests.patience import LONG, PATIENCE
from tests.processes import ROOT, eventually
from tests.time_travel import let_pass

pytestmark = pytest.mark.django_db(transaction=True)

CHATS, REPLIES = (50, 20) if LONG else (20, 5)


@pytest.fixture
def fake(settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Fake]:
    with telegram(tls=tmp_path) as one:
        monkeypatch.setenv("SSL_CERT_FILE", one.certificate)
        settings.TELEGRAM_BOT_TOKEN, settings.TELEGRAM_API_URL = TOKEN, one.url
        settings.TELEGRAM_CHAT_GAP, settings.TELEGRAM_MESSAGES_PER_SECOND = 0.0, 10_000.0
        settings.DELIVERY_BACKOFF, settings.DELIVERY_UNKNOWN_PATIENCE = 0.01, 0.05
        delivering._connected.cache_clear()
        yield one
        delivering.transport_of("telegram").close()  # type: ignore[attr-defined]
        delivering._connected.cache_clear()


@contextmanager
def workers(number: int) -> Iterator[None]:
    """Threads that do what is due, as workers do."""
    over = threading.Event()

    def work() -> None:
        try:
            while not over.is_set():
                run_due()
                over.wait(0.02)  # an idle worker's rest
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(number)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def unsent() -> bool:
    return Delivery.objects.filter(status__in=["pending", "sending"]).exists()


@pytest.mark.long
def test_replies_through_a_telegram_that_breaks_connections(fake: Fake) -> None:
    dice = random.Random(SEED)  # noqa: S311
    fake.dice = lambda: "lost" if dice.random() < 0.1 else "500" if dice.random() < 0.03 else None
    fake.at_connect = lambda: "reset" if dice.random() < 0.1 else None
    talks = [conversation(channel="telegram", chat_id=chat) for chat in range(1, CHATS + 1)]
    begun = time.monotonic()
    with workers(4):
        for number in range(REPLIES):
            for chat, talk in enumerate(talks, 1):
                takeover.reply(talk, f"{chat} {number}", by="anna")
        eventually(lambda: not unsent(), "everything was tried")
    took = time.monotonic() - begun
    arrived = Counter(fake.texts())
    assert set(arrived) == {f"{chat} {number}" for chat in range(1, CHATS + 1) for number in range(REPLIES)}, "0 lost"
    assert max(arrived.values()) == 1, "0 twice"
    for chat in range(1, CHATS + 1):
        assert fake.texts(chat) == [f"{chat} {number}" for number in range(REPLIES)], "0 out of order"
    unknown = Delivery.objects.filter(status="unknown").count()
    assert unknown == fake.injected["lost"] > 0, "exactly as many as were injected"
    assert Delivery.objects.filter(status="sent").count() == CHATS * REPLIES - unknown
    assert fake.injected["reset"] > 0
    print(f"{CHATS * REPLIES} replies in {took:.1f} s: {dict(fake.injected)}, {unknown} unknown")  # noqa: T201


@pytest.mark.parametrize(("point", "arrived"), [("before_send", 0), ("after_send", 1)])
def test_a_sender_that_dies_around_the_call_leaves_an_unknown_and_nothing_twice(
    fake: Fake, point: str, arrived: int
) -> None:
    talk = conversation(channel="telegram", chat_id=5)
    takeover.reply(talk, "perhaps", by="anna")
    takeover.reply(talk, "after it", by="anna")
    died = subprocess.run(
        [sys.executable, "-c", WORK],
        cwd=ROOT,
        env={**environment(), **as_variables(fake), "CRASH_AT": point},
        check=False,
        timeout=PATIENCE,
    )
    assert died.returncode == 137
    assert states(talk) == ["sending", "pending"]
    let_pass(delivering.LEASE)
    deliver(talk)
    assert states(talk)[0] == "unknown"
    let_pass(1)
    deliver(talk)
    assert states(talk) == ["unknown", "sent"]
    assert fake.texts() == ["perhaps"] * arrived + ["after it"]


def test_a_long_answer_whose_second_part_was_lost_goes_on_behind_it(fake: Fake) -> None:
    """Nine thousand characters are three parts."""
    talk = conversation(channel="telegram", chat_id=5)
    text = "A sentence of some length, to be read in peace. " * 190
    takeover.reply(talk, text, by="anna")
    outcomes = iter([None, "lost", None])
    fake.dice = lambda: next(outcomes)
    deliver(talk)
    assert states(talk) == ["sent", "unknown", "pending"]
    let_pass(1)
    deliver(talk)
    assert states(talk) == ["sent", "unknown", "sent"]
    assert " ".join(fake.texts()) == text.strip()
    assert [len(part) <= 4096 for part in fake.texts()] == [True] * 3


def as_variables(fake: Fake) -> dict[str, str]:
    return {"TELEGRAM_BOT_TOKEN": TOKEN, "TELEGRAM_API_URL": fake.url, "SSL_CERT_FILE": fake.certificate}


def states(talk: UUID) -> list[str]:
    rows = Delivery.objects.filter(conversation_id=talk).order_by("message_index", "part")
    return list(rows.values_list("status", flat=True))
