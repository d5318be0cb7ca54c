"""Appending to a long conversation among a million stored messages, beside an empty database."""

from __future__ import annotations

import time
from collections.abc import Callable
from uuid import UUID

from benchmarks.history import filled
from benchmarks.rounds import Row, medians, row


def run(quick: bool = False) -> list[Row]:
    from django.db import connection

    from conversations import log, sessions

    stored, long, operations, rounds = (2_000, 1_000, 50, 1) if quick else (1_000_000, 100_000, 500, 9)

    def appending(conversation: UUID) -> Callable[[], float]:
        def measure() -> float:
            started = time.perf_counter()
            for _ in range(operations):
                log.append(conversation, "user", "hello there, how are you today?")
            return operations / (time.perf_counter() - started)

        return measure

    def bare() -> float:
        """What the disk and the processor give just now: the two halves of the run cannot be interleaved."""
        started = time.perf_counter()
        with connection.cursor() as cursor:
            for _ in range(operations):
                cursor.execute("INSERT INTO yardstick DEFAULT VALUES")
        return operations / (time.perf_counter() - started)

    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE yardstick (id uuid PRIMARY KEY DEFAULT uuidv7(), at timestamptz DEFAULT now())")
    empty = medians({"append": appending(sessions.open(1)[0].pk), "bare": bare}, rounds)
    big = filled(long)
    others(stored - long)
    full = medians({"append": appending(big), "bare": bare}, rounds)
    ratio = (full["append"] / full["bare"]) / (empty["append"] / empty["bare"])
    name = f"append, {stored} stored, conversation of {long}"
    return [
        row(name, full["append"], "/s"),
        row(name, ratio, "x", ">= 0.9", "an empty database, both against a bare insert"),
    ]


def others(number: int, each: int = 100) -> None:
    """Everything else that is stored: conversations of a hundred messages."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO conversations (user_id) SELECT n FROM generate_series(1, %s) n", [number // each])
        cursor.execute(
            "INSERT INTO messages (conversation_id, message_index, role, content)"
            " SELECT id, n, 'user', 'message number ' || n FROM conversations, generate_series(0, %s) n"
            " WHERE message_count = 0",
            [each - 1],
        )
        cursor.execute("VACUUM ANALYZE")
