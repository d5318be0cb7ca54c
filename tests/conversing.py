"""A conversation to test with: who speaks, what the worker does, and an agent that remembers what it was asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from unittest.mock import patch
from uuid import UUID

from agents import runtime
from agents.outcomes import Outcome, Replied
from agents.runtime import Request
from config.queue import run_due
from conversations import log, sessions
from conversations.buffering import Received, receive
from conversations.models import Conversation, Fate, MessageFate
from tests.time_travel import let_pass

users = count(1_000)


@dataclass
class Agent:
    """Answers with what it was asked; `during` is called while it thinks."""

    asked: list[Request] = field(default_factory=list)
    during: Callable[[Request], None] | None = None
    answers: Callable[[Request], Outcome] | None = None

    def run(self, request: Request) -> Outcome:
        self.asked.append(request)
        if self.during is not None:
            self.during(request)
        if self.answers is not None:
            return self.answers(request)
        return Replied(" | ".join(request.burst))

    @property
    def bursts(self) -> list[list[str]]:
        return [list(request.burst) for request in self.asked]


@contextmanager
def agent(**behaviour: object) -> Iterator[Agent]:
    """In place of the real runtime for the length of the block."""
    one = Agent(**behaviour)  # type: ignore[arg-type]
    with patch.object(runtime, "run", one.run):
        yield one


def conversation(**columns: object) -> UUID:
    return sessions.open(next(users), **columns)[0].id  # type: ignore[arg-type]


def say(conversation_id: UUID, *texts: str) -> list[Received]:
    return [receive(conversation_id, text) for text in texts]


def quiet(seconds: float = 100) -> None:
    """Nobody writes for so long, and the worker does what comes due."""
    let_pass(seconds)
    run_due()


def replies(conversation_id: UUID) -> list[str]:
    return [entry.content for entry in log.history(conversation_id) if entry.role == "assistant"]


def fates(conversation_id: UUID) -> dict[int, Fate]:
    """What became of each inbound message, by its index."""
    found = MessageFate.objects.filter(message__conversation_id=conversation_id)
    return {index: Fate(fate) for index, fate in found.values_list("message__message_index", "fate")}


def step(conversation_id: UUID) -> int:
    return Conversation.objects.get(pk=conversation_id).interview_step
