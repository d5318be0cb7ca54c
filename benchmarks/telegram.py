"""How long does Telegram wait for its 200, and what does sending cost beside the call itself?"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.conf import settings
from django.test import Client

from benchmarks.rounds import row
from config.logs import configure
from conversations import delivering, takeover
from conversations.channels import Address, Result, Sent
from conversations.channels.telegram import webhook
from tests.chaos.world import world
from tests.conversing import conversation
from tests.fake_telegram import BOT_ID, TOKEN, update

OWN_SERVER = True

CHATS = 100


class Instant:
    """A messenger that costs nothing."""

    limit = 4096

    def send(self, _address: Address, _text: str, *, key: str) -> Result:
        return Sent(key)

    def show_typing(self, _address: Address) -> None:
        """Nobody looks."""


def timed(calls: list[Callable[[], object]]) -> list[float]:
    """Milliseconds of each."""
    found = []
    for call in calls:
        begun = time.perf_counter()
        call()
        found.append(1000 * (time.perf_counter() - begun))
    return sorted(found)


def bringing(number: int) -> list[Callable[[], object]]:
    """The webhook's view with all that stands before it, the updates of a hundred chats in turn."""
    client = Client(headers={webhook.HEADER: webhook.secret(BOT_ID)})
    bodies = [json.dumps(in_chat(n)) for n in range(1, number + 1)]

    def bring(body: str) -> None:
        response = client.post(f"/telegram/webhook/{BOT_ID}", body, content_type="application/json")
        assert response.status_code == 200, response.content

    return [lambda body=body: bring(body) for body in bodies]


def in_chat(number: int) -> dict[str, Any]:
    chat = 7 + number % CHATS
    person = {"id": chat, "is_bot": False, "first_name": "A"}
    return update(number, f"text {number}", chat={"id": chat, "type": "private"}, **{"from": person})


def sending(number: int) -> float:
    """Replies a second, claimed, sent and recorded, one sender."""
    talks: list[UUID] = [conversation(channel="telegram", chat_id=10_000 + n) for n in range(number)]
    for talk in talks:
        takeover.reply(talk, "An answer of the usual length, a sentence or two.", by="bench")
    begun = time.perf_counter()
    for talk in talks:
        delivering.deliver(talk, Instant())
    return number / (time.perf_counter() - begun)


def run(quick: bool = False) -> list[dict[str, Any]]:
    number = 40 if quick else 2_000
    configure(level="WARNING", as_json=True)
    settings.TELEGRAM_BOT_TOKEN, settings.ALLOWED_HOSTS, settings.SECURE_SSL_REDIRECT = TOKEN, ["testserver"], False
    with world() as made, made.connected():
        timed(bringing(20))  # warm: the library is imported with the first update
        made.execute("TRUNCATE channel_updates")
        first = timed(bringing(number))
        again = timed(bringing(number))
        rate = sending(number // 4)
    p99 = number * 99 // 100
    return [
        row("webhook, one update, p99", first[p99], "ms", "<= 200", f"p50 {statistics.median(first):.1f} ms"),
        row("webhook, a repeat, p99", again[p99], "ms", "<= 200", f"p50 {statistics.median(again):.1f} ms"),
        row("replies claimed, sent, recorded", rate, "/s", "", "Telegram takes 30/s"),
    ]


if __name__ == "__main__":
    from benchmarks.queue_common import show

    show(run())
