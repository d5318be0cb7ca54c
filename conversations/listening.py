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

AGENT = "SELECT agent_id, agent_version FROM conversations WHERE id = %s"

_looked_up: dict[UUID, tuple[float, Debounce | None]] = {}


def window_of(conversation_id: UUID) -> Window:
    """The window of this conversation; most messages of a burst cost no query for it."""
    now = time.monotonic()
    until, overrides = _looked_up.get(conversation_id, (0.0, None))
    if until <= now:
        if len(_looked_up) >= MOST:
            _looked_up.clear()
        overrides = _overrides(conversation_id)
        _looked_up[conversation_id] = (now + HOLDS, overrides)
    return Window.configured(overrides)


def _overrides(conversation_id: UUID) -> Debounce | None:
    found = ask(AGENT, (conversation_id,))
    if not found or found[0][0] is None:
        return None
    try:
        return registry.version_for(*found[0]).config.debounce
    except RegistryError:
        return None  # the turn will say what is wrong; listening needs no agent
