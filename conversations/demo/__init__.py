"""Conversations to look at and to search: what people told about their last move, and a little else."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Self

from django.db import transaction

from agents.models import Agent
from config.statements import ask
from conversations import sessions
from conversations.models import Conversation, Message, Role

CHANNEL = "demo"
TALKS = Path(__file__).parent / "talks"
SPEAKERS = {"<": Role.ASSISTANT, ">": Role.USER}
THINKS, TYPES = 4, 5  # seconds before somebody begins to write, and letters a second


@dataclass(frozen=True, slots=True)
class Talk:
    """One conversation, as its file tells it; `person` is also its chat, so that it is told once."""

    agent: str
    person: int
    title: str
    days_ago: int
    hour: int
    talk: str

    @classmethod
    def read(cls, path: Path) -> Self:
        return cls(**tomllib.loads(path.read_text()))

    def lines(self) -> list[tuple[Role, str]]:
        return [(SPEAKERS[line[0]], line[2:]) for line in self.talk.strip().splitlines()]


def load(*, anyway: bool) -> str:
    """Tell the talks to a database that has no conversations; `anyway`, those it does not have yet."""
    with transaction.atomic():
        [(now,)] = ask(
            "SELECT clock_timestamp() FROM pg_advisory_xact_lock(hashtext('parley.demo'))", ()
        )  # one at a time
        if not anyway and Conversation.objects.exists():
            return "there are conversations already"
        talks = [Talk.read(path) for path in sorted(TALKS.glob("*.toml"))]
        told = sum(_tell(talk, now) for talk in talks)
    return f"{told} of {len(talks)} conversations added"


def _tell(talk: Talk, now: datetime) -> bool:
    if Conversation.objects.filter(channel=CHANNEL, chat_id=talk.person).exists():
        return False
    agent = Agent.objects.filter(name=talk.agent).first()
    conversation, _new = sessions.open(
        talk.person, chat_id=talk.person, channel=CHANNEL, agent_id=agent.pk if agent else None, title=talk.title
    )
    at = (now - timedelta(days=talk.days_ago)).replace(hour=talk.hour, minute=talk.person % 60, second=0)
    Conversation.objects.filter(pk=conversation.pk).update(created_at=at)
    messages = []
    for index, (role, content) in enumerate(talk.lines()):
        at += timedelta(seconds=THINKS + len(content) / TYPES)
        messages.append(
            Message(
                conversation=conversation, message_index=index, role=role, content=content, created_at=at, updated_at=at
            )
        )
    Message.objects.bulk_create(messages)  # as an import does: rows that bring their index and their time
    return True
