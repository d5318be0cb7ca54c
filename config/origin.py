"""Who writes, and because of what was said: told to the database, whose triggers keep it beside the values (ADR 0114).

It lives for a transaction and reaches raw SQL, too; where nobody tells, the triggers keep the login of the connection.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from uuid import UUID

from django.db import connection


@dataclass(frozen=True, slots=True)
class Origin:
    """A writer: `kind` is staff, agent, import or system; the rest is known of agents, or not at all."""

    kind: str
    actor: str
    user_id: int | None = None  # for whom an agent acts
    agent_version: int | None = None
    conversation_id: UUID | None = None
    turn_id: UUID | None = None
    message_id: UUID | None = None
    reverts: UUID | None = None  # the change that is taken back


_CURRENT: ContextVar[Origin | None] = ContextVar("origin", default=None)


def current() -> Origin | None:
    """Who writes here, as far as somebody told."""
    return _CURRENT.get()


@contextmanager
def written_by(origin: Origin) -> Iterator[None]:
    """Within a transaction: what is written in the block is written by them.

    Where the block raises, the transaction or its savepoint has to end, and the setting with it.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("SET LOCAL outside a transaction changes nothing: open one first.")
    before = _CURRENT.get()
    token = _CURRENT.set(origin)
    try:
        _tell(origin)
        yield
        _tell(before)
    finally:
        _CURRENT.reset(token)


def _tell(origin: Origin | None) -> None:
    told = {key: value for key, value in asdict(origin).items() if value is not None} if origin else None
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('parley.origin', %s, true)", [json.dumps(told, default=str) if told else ""])
