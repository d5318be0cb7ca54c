"""How long a conversation is listened to: as the settings say, but for what its agent's config says otherwise."""

from __future__ import annotations

import time
from uuid import UUID

from agents import registry
from agents.config import Debounce
from agents.registry import RegistryError
from config.statements import ask
from conversations.burst import Window

HOLDS = 10.0  # seconds a process trusts what it looked up: a published change reaches open conversations by then
MOST = 10_000  # conversations remembered

LISTENED = "SELECT agent_id, agent_version, interview_step FROM conversations WHERE id = %s"

_said: dict[tuple[UUID | None, int | None], tuple[float, Debounce | None]] = {}  # few: one per agent and version
_looked_up: dict[UUID, tuple[float, Debounce | None, int]] = {}


def window_of(conversation_id: UUID) -> Window:
    """The window of this conversation; most messages of a burst cost no query for it."""
    return Window.configured(_look(conversation_id)[1])


def step_of(conversation_id: UUID) -> int:
    """The step the conversation was at when we last looked: a guess, for callers who find out whether it is true."""
    return _look(conversation_id)[2]


def forget(conversation_id: UUID) -> None:
    """Look again: the guess was wrong."""
    _looked_up.pop(conversation_id, None)


def forget_all() -> None:
    """Look everything up again."""
    _looked_up.clear()
    _said.clear()


def _look(conversation_id: UUID) -> tuple[float, Debounce | None, int]:
    now = time.monotonic()
    found = _looked_up.get(conversation_id)
    if found is None or found[0] <= now:
        if len(_looked_up) >= MOST:
            _looked_up.clear()
        found = _looked_up[conversation_id] = (now + HOLDS, *_ask(conversation_id))
    return found


def _ask(conversation_id: UUID) -> tuple[Debounce | None, int]:
    found = ask(LISTENED, (conversation_id,))
    if not found:
        return None, 0
    agent_id, version, step = found[0]
    return _debounce(agent_id, version), step


def _debounce(agent_id: UUID | None, version: int | None) -> Debounce | None:
    """What the agent's config says, the default agent's for conversations that name none."""
    until, found = _said.get((agent_id, version), (0.0, None))
    if until <= time.monotonic():
        try:
            found = registry.version_for(agent_id, version).config.debounce
        except RegistryError:
            found = None  # the turn will say what is wrong; listening needs no agent
        _said[agent_id, version] = (time.monotonic() + HOLDS, found)
    return found
