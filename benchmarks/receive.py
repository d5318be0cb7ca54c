"""What does listening cost on top of storing? `receive` (message, burst, timer) beside `append`, both durable."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from benchmarks.queue_common import row, show
from config.logs import configure
from conversations import log
from conversations.buffering import receive
from tests.chaos.world import World, world
from tests.conversing import conversation

OWN_SERVER = True

TEXT = "Well, I moved to Berlin last year, and then I found a job here. "
BURST = 5  # messages a person writes before the agent answers


def opened(number: int) -> list[UUID]:
    return [conversation() for _ in range(number)]


def rate(number: int, write: Callable[[UUID, int], object]) -> float:
    """Messages per second, in bursts of five, each burst in a conversation of its own."""
    chats = opened(number // BURST)
    begun = time.perf_counter()
    for chat in chats:
        for message in range(BURST):
            write(chat, message)
    return len(chats) * BURST / (time.perf_counter() - begun)


def measured(made: World, number: int, rounds: int) -> tuple[list[float], list[float]]:
    """Turn and turn about, so that both see the same machine."""
    appended, received = [], []
    for _ in range(rounds):
        appended.append(
            rate(number, lambda chat, n: log.append(chat, "user", TEXT, external_id=f"update-{n}", inbound=True))
        )
        received.append(rate(number, lambda chat, n: receive(chat, TEXT, external_id=f"update-{n}")))
        made.execute("TRUNCATE message_buffers, queue_tasks")
    return appended, received


def run(quick: bool = False) -> list[dict[str, Any]]:
    number, rounds = (50, 1) if quick else (1_000, 7)
    configure(level="WARNING", as_json=True)  # neither writes its log lines: both are measured to the commit
    with world() as made, made.connected():
        measured(made, 100, 1)  # warm
        appended, received = measured(made, number, rounds)
    ratio = statistics.median(ours / theirs for ours, theirs in zip(received, appended, strict=True))
    append = statistics.median(appended)
    return [
        row("receive / append, bursts of 5", ratio, "x", ">= 0.6", f"append {append:.0f}/s"),
        row("receive, one connection, durable", statistics.median(received), "msg/s", "", ""),
    ]


if __name__ == "__main__":
    show(run())
