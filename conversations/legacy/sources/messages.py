"""A flat table of messages, one row each: `messages(chat_id, user_id, role, content, created_at, deleted_at, ...)`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from psycopg import sql

from conversations.legacy.json_stream import loads
from conversations.legacy.records import Chat, Found, Place, Record
from conversations.legacy.sources.postgres import INTEGERS, Postgres

AT_ONCE = 4  # rows in memory, however long they are; read one by one they take more than twice the time
QUERY = """
SELECT {chat_key}, {user_key}, {id}, {role}, {content}, {created}, {deleted}, {metadata}, {author}, {rest},
    {user}, {chat}
FROM {table} t WHERE {behind} ORDER BY 1, 2, {order}
"""
OWN = frozenset({"updated_at", "character_count"})  # what every message here has anyway


class Messages(Postgres):
    """A chat and a user make a conversation, or the column that names one does."""

    kind = "messages"
    TABLE = "messages"
    FIELDS = {
        "conversation": ("session_id", "conversation_id", "thread_id", "dialog_id"),
        "chat_id": ("chat_id", "chatId", "tg_chat_id"),
        "user_id": ("user_id", "userId", "tg_user_id", "from_id"),
        "id": ("id", "message_id", "uuid"),
        "position": ("message_index", "position", "seq", "idx"),
        "role": ("role", "sender", "sender_role", "author_role"),
        "content": ("content", "text", "message", "body"),
        "created_at": ("created_at", "createdAt", "timestamp", "sent_at", "date", "created"),
        "deleted_at": ("deleted_at", "deletedAt"),
        "metadata": ("metadata", "meta"),
        "author": ("author", "author_name"),
    }
    NEEDED = ("role", "content")

    def read(self, after: Place | None) -> Iterator[Found]:
        last, skip = (after or {}).get("chat") or '["",""]', (after or {}).get("position", -1)
        self._rows, chat, known = (after or {}).get("rows", 0), None, None
        for row in self.rows(self._query(json.loads(last) if after else None), at_once=AT_ONCE):
            if chat is None or known != row[:2]:
                known, chat = row[:2], self._made(row)
                begin, self._chat, self._position = skip + 1 if chat.key == last else 0, chat.key, -1
                yield chat
            self._position += 1
            if self._position >= begin:
                self._rows += 1
                yield self._record(chat, row)

    def _made(self, row: tuple[Any, ...]) -> Chat:
        return Chat(json.dumps(row[:2]), user=row[10], chat_id=row[11], created=row[5])

    def _record(self, chat: Chat, row: tuple[Any, ...]) -> Record:
        _chat, _user, id_, role, content, created, deleted, metadata, author, rest = row[:10]
        more = None
        if metadata is not None and metadata != "{}":
            more = _object(metadata)
        if rest is not None:
            more = {**loads(rest), **(more or {})}
        return Record(chat, self._position, role, content, id_, created, deleted, more, author)

    def _query(self, after: list[str] | None) -> sql.Composed:
        has_text = {"role", "content", "id", "metadata", "author"}
        chat_key = self.sort_key("conversation" if "conversation" in self.fields else "chat_id")
        user_key, behind = self._user_key(), sql.SQL("true").format()
        if after is not None:
            place = map(sql.Literal, after)
            behind = sql.SQL("({}, {}) >= ({}, {})").format(chat_key, user_key, *place)
        return sql.SQL(QUERY).format(
            **{field: self.text(field) for field in has_text},
            user=self.text("user_id"), chat=self.text("chat_id"), chat_key=chat_key, user_key=user_key,
            created=self.moment("created_at"), deleted=self.moment("deleted_at"), rest=self.others(OWN),
            table=self._table(), order=self._order(), behind=behind,
        )  # fmt: skip

    def _user_key(self) -> sql.Composed:
        """Who wrote a message does not divide a conversation that has a name: its first row says whose it is."""
        return sql.SQL("''").format() if "conversation" in self.fields else self.sort_key("user_id")

    def _order(self) -> sql.Composed:
        """As the rows were numbered or came in; by their times, then by their ids, where nothing else says."""
        place, id_ = self.fields.get("position"), self.fields.get("id")
        if place:
            return sql.SQL("t.{}").format(sql.Identifier(place))
        if id_ and self.types[id_] in INTEGERS:
            return sql.SQL("t.{}").format(sql.Identifier(id_))
        created = self.fields.get("created_at")
        keys = [sql.SQL("t.{}").format(sql.Identifier(name)) for name in (created, id_) if name]
        return sql.SQL(", ").join([*keys, sql.SQL("t.ctid").format()])


def _object(text: str) -> dict[str, Any]:
    try:
        value = loads(text)
    except ValueError:
        value = text
    return value if isinstance(value, dict) else {"metadata": value}
