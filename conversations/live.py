"""What happens in a conversation, as it happens: one look at the database per process serves every listener.

Messages are a log: each carries its index as the event's id, and a listener that comes back names the last one it saw.
Everything else is state: who answers, the open burst, the latest turns. A listener gets it whole when it comes and
changed when it changes, so nothing of it can be missed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import structlog
from asgiref.sync import sync_to_async
from django.db import DatabaseError, close_old_connections, connection

from conversations import log
from conversations.moments import IN_SQL, Encoder

logger = structlog.get_logger(__name__)

LOOK_EVERY = 0.25  # seconds between looks at the listened conversations
HEARTBEAT = 15.0  # seconds of silence after which a comment keeps proxies from closing the stream
PAGE = 200  # messages fetched at once by a listener that is behind
LATEST_TURNS = 5

LOOK = f"""
SELECT conversations.id, message_count, deleted_count, mode, interview_step,
    (SELECT coalesce(jsonb_agg(burst), '[]') FROM (
        SELECT interview_step, jsonb_array_length(messages) AS messages, extended_by_typing,
            {IN_SQL.format("created_at")} AS opened_at, {IN_SQL.format("flush_at")} AS flush_at FROM message_buffers
        WHERE message_buffers.conversation_id = conversations.id ORDER BY interview_step) AS burst),
    (SELECT coalesce(jsonb_agg(turn), '[]') FROM (
        SELECT id, status, trigger, interview_step, attempts, reply_id FROM turns
        WHERE turns.conversation_id = conversations.id ORDER BY id DESC LIMIT %s) AS turn),
    (SELECT to_jsonb(draft) FROM (
        SELECT turn_id, text FROM turn_drafts JOIN turns ON turns.id = turn_id AND status = 'running'
        WHERE turn_drafts.conversation_id = conversations.id) AS draft)
FROM conversations WHERE conversations.id = ANY(%s)
"""


@dataclass(frozen=True, slots=True)
class State:
    """A conversation at one moment, but for its texts."""

    message_count: int
    deleted_count: int
    mode: str
    interview_step: int
    bursts: list[dict[str, Any]]
    turns: list[dict[str, Any]]  # the latest, newest first
    draft: dict[str, Any] | None = None  # the answer as far as it has come


@dataclass(frozen=True, slots=True)
class Happened:
    """One event of the stream; `id` is the index of the last message it follows."""

    name: str
    data: dict[str, Any]
    id: int

    def for_clients(self) -> Happened:
        """Without the login names of staff, which are nobody's business outside of the admin."""
        return Happened(self.name, {key: value for key, value in self.data.items() if key != "author"}, self.id)

    def encode(self) -> bytes:
        """As server-sent events write it; JSON has no line breaks that could forge another field."""
        data = json.dumps(self.data, cls=Encoder, ensure_ascii=False)
        return f"id: {self.id}\nevent: {self.name}\ndata: {data}\n\n".encode()


KEEP_ALIVE = b": keep-alive\n\n"


@dataclass
class Hub:
    """The one who looks, for all listeners of this process's event loop."""

    listeners: dict[UUID, set[asyncio.Event]] = field(default_factory=dict)
    states: dict[UUID, State] = field(default_factory=dict)
    task: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def listening(self, conversation_id: UUID) -> AsyncIterator[asyncio.Event]:
        """An event that is set whenever the conversation's state may have changed."""
        changed = asyncio.Event()
        self.listeners.setdefault(conversation_id, set()).add(changed)
        if self.task is None or self.task.done():
            self.task = asyncio.create_task(self._look_on())
        try:
            yield changed
        finally:
            others = self.listeners[conversation_id]
            others.discard(changed)
            if not others:
                del self.listeners[conversation_id]
                self.states.pop(conversation_id, None)

    async def _look_on(self) -> None:
        """Until nobody listens; an outage of the database is waited out, and the listeners with it."""
        while self.listeners:
            try:
                states = await sync_to_async(look, thread_sensitive=False)(list(self.listeners))
            except DatabaseError as error:
                logger.warning("live view lost the database", reason=type(error).__name__)
                await asyncio.sleep(1.0)
                continue
            for conversation_id, listeners in self.listeners.items():
                if self.states.get(conversation_id) != states.get(conversation_id) and conversation_id in states:
                    self.states[conversation_id] = states[conversation_id]
                    for changed in listeners:
                        changed.set()
            await asyncio.sleep(LOOK_EVERY)


_hubs: dict[int, Hub] = {}


def hub() -> Hub:
    """This event loop's hub."""
    return _hubs.setdefault(id(asyncio.get_running_loop()), Hub())


def look(conversation_ids: Iterable[UUID]) -> dict[UUID, State]:
    close_old_connections()
    try:
        with connection.cursor() as cursor:
            cursor.execute(LOOK, [LATEST_TURNS, list(conversation_ids)])
            return {
                id_: State(count, deleted, mode, step, *(json.loads(part or "null") for part in parts))
                for id_, count, deleted, mode, step, *parts in cursor.fetchall()
            }
    finally:
        connection.close()


async def follow(conversation_id: UUID, *, after_index: int) -> AsyncGenerator[Happened | None, None]:
    """Everything after that message, for as long as somebody listens; None where a heartbeat is due."""
    seen: State | None = None
    async with hub().listening(conversation_id) as changed:
        changed.set()
        while True:
            try:
                await asyncio.wait_for(changed.wait(), HEARTBEAT)
            except TimeoutError:
                yield None
                continue
            changed.clear()
            state = hub().states.get(conversation_id)
            if state is None:
                continue  # the hub's first look is on its way
            while after_index + 1 < state.message_count:
                entries = await sync_to_async(_messages, thread_sensitive=False)(conversation_id, after_index)
                if not entries:
                    break
                for entry in entries:
                    after_index = entry.message_index
                    yield Happened("message", message(entry), after_index)
            for happened in changes(seen, state, after_index):
                yield happened
            seen = state


def changes(before: State | None, now: State, index: int) -> list[Happened]:
    """What of the state a listener does not know yet."""
    happened = []
    if before is None or (before.mode, before.interview_step) != (now.mode, now.interview_step):
        session = {"mode": now.mode, "interview_step": now.interview_step, "deleted_count": now.deleted_count}
        happened.append(Happened("session", session, index))
    if before is not None and before.deleted_count != now.deleted_count:
        happened.append(Happened("deleted", {"count": now.deleted_count - before.deleted_count}, index))
    if before is None or before.bursts != now.bursts:
        if before and _extensions(now) > _extensions(before):
            happened.append(Happened("typing", {"role": "user"}, index))
        happened.append(Happened("burst", {"bursts": now.bursts}, index))
    known = {turn["id"]: turn for turn in before.turns} if before else {}
    fresh = [turn for turn in reversed(now.turns) if known.get(turn["id"]) != turn]
    happened += [Happened("turn", turn, index) for turn in fresh]
    if now.draft and now.draft != (before and before.draft):
        happened.append(Happened("draft", now.draft, index))
    return happened


def message(entry: log.Entry) -> dict[str, Any]:
    """A message as listeners get it."""
    return {
        "id": entry.id,
        "message_index": entry.message_index,
        "role": entry.role,
        "content": entry.content,
        "author": entry.author,
        "metadata": entry.metadata,
        "created_at": entry.created_at,
    }


def parsed_event_id(text: str | None) -> int | None:
    """The message index a returning listener names; None where it names nothing usable."""
    if text and text.isascii() and text.removeprefix("-").isdigit() and len(text) < 19:
        return max(-1, int(text))
    return None


def _messages(conversation_id: UUID, after_index: int) -> list[log.Entry]:
    close_old_connections()
    try:
        return log.history(conversation_id, after_index=after_index, limit=PAGE)
    finally:
        connection.close()


def _extensions(state: State) -> int:
    return sum(burst["extended_by_typing"] for burst in state.bursts)
