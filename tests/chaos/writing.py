"""People who write: `python -m tests.chaos.writing` with the plan as JSON on stdin.

A writer behaves as a channel does: it repeats a message with the same external id until it knows that it was stored,
and only then goes on to the next. What it knows is written to the history.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import UUID

import django
from django.db import InterfaceError, OperationalError, connection

from tests.chaos.history import History

OUTAGE = (OperationalError, InterfaceError)
PAUSE, LONGEST_PAUSE = 0.05, 1.0  # seconds before an attempt is repeated
TYPING = 0.1  # share of messages with a sign of typing before them


@dataclass(frozen=True)
class Plan:
    """Who writes how much where; `pace` is the mean pause of a writer between two messages."""

    writers: list[int]
    messages_each: int
    conversations: list[str]
    pace: float
    seed: int
    history: str

    def dumps(self) -> str:
        return json.dumps(asdict(self))


def write(plan: Plan, writer: int, history: History) -> None:
    from conversations.buffering import typing

    dice = random.Random(f"{plan.seed} {writer}")  # noqa: S311  dice
    for number in range(plan.messages_each):
        time.sleep(dice.expovariate(1 / plan.pace) if plan.pace else 0)
        chat = dice.choice(plan.conversations)
        if dice.random() < TYPING:
            try:
                typing(UUID(chat), "typing")
            except OUTAGE:
                connection.close()
        send(chat, f"{writer}.{number}", json.dumps([writer, number]), history, {"writer": writer, "number": number})
    connection.close()


def send(chat: str, text: str, external_id: str, history: History, who: dict[str, int]) -> None:
    """Until it is stored. An outage in the middle leaves us not knowing: the next attempt tells."""
    from conversations.buffering import receive

    pause = PAUSE
    history.note("invoke", by="writer", chat=chat, id=external_id, text=text, **who)
    while True:
        try:
            received = receive(UUID(chat), text, external_id=external_id)
        except OUTAGE as error:
            history.note("info", by="writer", id=external_id, error=type(error).__name__)
            connection.close()
            time.sleep(pause)
            pause = min(LONGEST_PAUSE, pause * 2)
        else:
            entry = received.entry
            history.note("ok", by="writer", id=external_id, index=entry.message_index, repeated=entry.repeated)
            return


def main() -> None:
    plan = Plan(**json.load(sys.stdin))
    django.setup()
    history = History(Path(plan.history))
    threads = [threading.Thread(target=write, args=(plan, writer, history)) for writer in plan.writers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    history.close()


if __name__ == "__main__":
    main()
