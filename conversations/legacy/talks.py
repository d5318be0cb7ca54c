"""The conversations a chunk belongs to: found, locked, or opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any
from uuid import UUID

from django.db import connection

from conversations.legacy.cleaning import INSTEAD, UNSTORABLE, flattened, storable
from conversations.legacy.moments import parse
from conversations.legacy.people import as_number, user_number
from conversations.legacy.records import Chat, Clean
from conversations.models import Mode

TITLE = 200  # characters
Live = tuple[str, int, int]  # channel, chat, user


@dataclass(slots=True)
class Talk:
    """A conversation as this chunk finds it, and how far this import has come in it."""

    chat: UUID
    conversation: UUID | None  # None: erased here since an earlier import
    live: Live | None = None
    opened: bool = False  # by this import: nothing of the source can be in it twice
    fresh: bool = False  # by this chunk
    closed: bool = False
    index: int = 0
    last: datetime | None = None
    brought: int = 0
    checksum: int = 0
    start: bytes = b""  # of its rows
    here: dict[str, Clean] = field(default_factory=dict)  # what the chunk brings, by its identity

    def take(self, digest: int, created: datetime) -> None:
        """One more message has come to its end."""
        self.index, self.last = self.index + 1, created
        self.brought, self.checksum = self.brought + 1, self.checksum + digest


@dataclass(frozen=True)
class Home:
    """Where the conversations of a source go."""

    batch: UUID
    source: str
    channel: str
    agent_id: UUID | None
    user_id: int | None
    began: datetime

    @cached_property
    def name(self) -> str:
        return str(self.batch)


FIND = """
SELECT key, known.id, known.conversation_id, channel, chat_id, user_id, coalesce(share.opened, false), mode = 'closed'
FROM import_chats AS known LEFT JOIN conversations ON conversations.id = known.conversation_id
LEFT JOIN import_shares AS share ON share.conversation_id = known.conversation_id AND share.batch_id = %s
WHERE known.source = %s AND key = ANY(%s)
"""
# In one order, so that two imports cannot wait for each other; the counts are read under the locks.
LOCK = "SELECT id, message_count FROM conversations WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE"
LAST = """
SELECT conversation_id, created_at FROM messages JOIN (
    SELECT conversation_id, max(last_index) AS message_index FROM import_shares
    WHERE conversation_id = ANY(%s) GROUP BY conversation_id
) AS newest USING (conversation_id, message_index)
"""


def find(home: Home, chats: Mapping[str, Chat]) -> dict[str, Talk]:
    """Those that are known already; nothing is locked."""
    with connection.cursor() as cursor:
        cursor.execute(FIND, [home.batch, home.source, list(chats)])
        return {
            key: Talk(chat, id_, _live(*live), opened, closed=bool(closed))
            for key, chat, id_, *live, opened, closed in cursor.fetchall()
        }


def lock(talks: Mapping[str, Talk]) -> None:
    """Hold appends back until the chunk is written, and see where the next index is."""
    by_id = {talk.conversation: talk for talk in talks.values() if talk.conversation and not talk.fresh}
    if not by_id:
        return
    with connection.cursor() as cursor:
        cursor.execute(LOCK, [list(by_id)])
        for id_, count in cursor.fetchall():
            by_id[id_].index = count
        cursor.execute(LAST, [list(by_id)])
        for id_, created in cursor.fetchall():
            by_id[id_].last = created.astimezone(UTC)


# One JSON text in place of many arrays: the driver looks at it once, and not at every value.
OPEN = """
WITH new AS (
    SELECT * FROM jsonb_to_recordset(%(rows)s::jsonb) AS row (
        id uuid, key text, user_id bigint, chat_id bigint, channel text, title text, mode text, step integer,
        metadata jsonb, created_at timestamptz)
), opened AS (
    INSERT INTO conversations
        (id, user_id, chat_id, channel, agent_id, title, mode, interview_step, metadata, created_at)
    SELECT id, user_id, chat_id, channel, %(agent)s, title, mode, step, metadata, created_at FROM new
)
INSERT INTO import_chats (source, key, conversation_id) SELECT %(source)s, key, id FROM new RETURNING key, id
"""
TAKEN = """
SELECT channel, chat_id, user_id FROM conversations
JOIN unnest(%s::text[], %s::bigint[], %s::bigint[]) AS asked (channel, chat_id, user_id)
    USING (channel, chat_id, user_id)
WHERE mode <> 'closed'
"""


def open_new(home: Home, chats: Mapping[str, Chat], said: Mapping[str, datetime]) -> dict[str, Talk]:
    """A conversation for each chat that is new; closed where its chat already goes on in another one."""
    if not chats:
        return {}
    with connection.cursor() as cursor:
        cursor.execute("SELECT uuidv7() FROM generate_series(1, %s)", [len(chats)])
        ids = [id_ for (id_,) in cursor.fetchall()]
        rows = [_row(home, chat, id_, said.get(chat.key)) for chat, id_ in zip(chats.values(), ids, strict=True)]
        _close_all_but_one(cursor, rows)
        cursor.execute(OPEN, {"rows": storable(rows), "agent": home.agent_id, "source": home.source})
        known = dict(cursor.fetchall())
    return {
        row["key"]: Talk(
            known[row["key"]], id_, _live(row["channel"], row["chat_id"], row["user_id"]), opened=True, fresh=True,
            closed=row["mode"] == Mode.CLOSED,
        )
        for id_, row in zip(ids, rows, strict=True)
    }  # fmt: skip


def _row(home: Home, chat: Chat, id_: UUID, said: datetime | None) -> dict[str, Any]:
    """The columns of a conversation; whom a name stands for stays in its metadata."""
    user = (
        home.user_id
        if home.user_id is not None
        else user_number(chat.user, str(chat.chat_id or ""), home.source, chat.key)
    )
    told: dict[str, Any] = {"source": home.source, "key": chat.key}
    if chat.user is not None and as_number(chat.user) is None:
        told["user"] = chat.user
    if chat.chat_id is not None and as_number(chat.chat_id) is None:
        told["chat"] = chat.chat_id
    created = parse(chat.created, UTC) or said or home.began
    return {
        "id": id_, "key": chat.key, "user_id": user, "chat_id": as_number(chat.chat_id),
        "channel": chat.channel or home.channel, "title": UNSTORABLE.sub(INSTEAD, str(chat.title))[:TITLE],
        "mode": Mode.AUTO if chat.live else Mode.CLOSED, "step": min(chat.step, 2**31 - 1),
        "metadata": _with(flattened(chat.metadata), told), "created_at": created,
    }  # fmt: skip


def _with(metadata: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    return {**metadata, "import": {**metadata.get("import", {}), **told}}


def _close_all_but_one(cursor: Any, rows: list[dict[str, Any]]) -> None:
    """One conversation goes on in a chat: the one that is here already, else the first that may."""
    asked = [(row["channel"], row["chat_id"], row["user_id"]) for row in rows]
    cursor.execute(TAKEN, [list(column) for column in zip(*asked, strict=True)])
    taken = set(cursor.fetchall())
    for row, live in zip(rows, asked, strict=True):
        if live[1] is None or row["mode"] == Mode.CLOSED:
            continue
        if live in taken:
            row["mode"] = Mode.CLOSED
        taken.add(live)


def _live(channel: str | None, chat_id: int | None, user_id: int | None) -> Live | None:
    return None if channel is None or chat_id is None or user_id is None else (channel, chat_id, user_id)
