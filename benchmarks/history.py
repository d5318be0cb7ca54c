"""The newest page: does it cost more in a long conversation?"""

from __future__ import annotations

import time
from collections.abc import Callable
from uuid import UUID

from benchmarks.rounds import Row, medians, row


def run(quick: bool = False) -> list[Row]:
    from conversations import log

    long, operations, rounds = (1_000, 20, 1) if quick else (100_000, 300, 15)
    small, big = filled(100), filled(long)

    def reading(conversation: UUID, **window: int) -> Callable[[], float]:
        def measure() -> float:
            started = time.perf_counter()
            for _ in range(operations):
                assert len(log.history(conversation, limit=50, **window)) == 50
            return (time.perf_counter() - started) / operations * 1e6

        return measure

    times = medians(
        {
            "small": reading(small),
            "big": reading(big),
            "middle": reading(big, before_index=long // 2),
            "forward": reading(big, after_index=long // 2),
        },
        rounds,
    )
    return [
        row("last 50 of 100 messages", times["small"], "us"),
        row(f"last 50 of {long}", times["big"] / times["small"], "x", "<= 1.2", "last 50 of 100"),
        row(f"50 before the middle of {long}", times["middle"] / times["small"], "x", "<= 1.2", "last 50 of 100"),
        row(f"50 after the middle of {long}", times["forward"] / times["small"], "x", "<= 1.2", "last 50 of 100"),
    ]


def filled(number: int) -> UUID:
    """A conversation of so many messages, and no statistics about it yet, as after an import."""
    from django.db import connection

    from conversations import sessions

    conversation: UUID = sessions.open(1)[0].pk
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO messages (conversation_id, message_index, role, content)"
            " SELECT %s, n, 'user', 'message number ' || n FROM generate_series(0, %s) n",
            [conversation, number - 1],
        )
    return conversation
