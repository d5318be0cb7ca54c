"""`chat_sessions.messages`: one row a session, its messages a JSONB array in a column."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from psycopg import sql

from conversations.legacy.blob import record_of, records_in
from conversations.legacy.json_stream import loads
from conversations.legacy.records import Broken, Chat, Found, Place, Record
from conversations.legacy.sources.postgres import Postgres
from conversations.models import RejectReason

# The array is taken apart by the server and comes message by message. A lateral join keeps the order of what it joins
# to; sorting once more would copy every message to the disk of the source. `read` watches over the order.
QUERY = """
SELECT s.key, s.user_id, s.chat_id, s.live, s.step, e.place,
    CASE WHEN e.place IS NULL OR e.place = 1 THEN s.head END, e.value, CASE WHEN e.place IS NULL THEN s.rest END
FROM (
    SELECT {id} COLLATE "C" AS key, {user} AS user_id, {chat} AS chat_id, {live} AS live, {step} AS step,
        json_build_array({title}, {created}, {metadata}, {others})::text AS head,
        CASE WHEN {is_array} THEN {list} END AS list, CASE WHEN NOT {is_array} THEN t.{messages}::text END AS rest
    FROM {table} t ORDER BY 1
) AS s
LEFT JOIN LATERAL {elements}(s.list) WITH ORDINALITY AS e (value, place) ON true
WHERE s.key >= {after}
"""
TOTAL = """
SELECT sum(CASE WHEN {is_array} THEN greatest(1, {length}(t.{messages})) ELSE 1 END) FROM {table} t
"""


class ChatSessions(Postgres):
    """Resuming reads the last session again and leaves out what was read of it."""

    kind = "chat_sessions"
    TABLE = "chat_sessions"
    FIELDS = {
        "id": ("id", "session_id", "uuid"),
        "user_id": ("user_id", "owner_id", "userId"),
        "chat_id": ("chat_id", "chatId", "telegram_chat_id"),
        "title": ("title", "name", "subject"),
        "messages": ("messages", "history", "messages_json"),
        "metadata": ("metadata", "meta"),
        "step": ("interview_step", "current_step"),
        "created_at": ("created_at", "createdAt", "started_at"),
        "updated_at": ("updated_at", "updatedAt", "last_message_at"),
    }
    NEEDED = ("id", "messages")

    def read(self, after: Place | None) -> Iterator[Found]:
        last, skip = (after or {}).get("chat", ""), (after or {}).get("position", -1)
        self._rows = (after or {}).get("rows", 0)
        chat: Chat | None = None
        for row in self.rows(self._query(last)):
            if chat is None or row[0] != chat.key:
                if chat is not None:
                    yield from self._rest(chat)
                    if row[0] < chat.key:
                        raise RuntimeError(f"{self.table} came out of order: {chat.key}, then {row[0]}")
                chat = self._made(row)
                self._begin = skip + 1 if chat.key == last else 0
                self._chat, self._position, self._length = chat.key, self._begin - 1, 0
                yield chat
            yield from self._found(chat, row)
        if chat is not None:
            yield from self._rest(chat)

    def _found(self, chat: Chat, row: tuple[Any, ...]) -> Iterator[Found]:
        """The message of a row, or what stands where a list should be."""
        place, value, rest = row[5], row[7], row[8]
        if place is not None:
            yield from self._passed(self._element(value, chat, int(place) - 1))
        elif rest is not None:
            for found in records_in(rest, chat):
                yield from self._passed(found)

    def _passed(self, found: Record | Broken) -> Iterator[Found]:
        """Count it, and hand it on where it was not read before."""
        self._length += 1
        if self._length > self._begin:
            self._position = self._length - 1
            self._rows += 1
            yield found

    def _rest(self, _chat: Chat) -> Iterator[Found]:
        """What belongs to the conversation and is not in its list."""
        yield from ()

    def _element(self, value: str, chat: Chat, position: int) -> Record | Broken:
        try:
            return record_of(loads(value), chat, position)
        except ValueError as error:
            return Broken(RejectReason.BROKEN_JSON, f"message {position}", str(error)[:200], value, chat)

    def _made(self, row: tuple[Any, ...]) -> Chat:
        key, user, chat_id, live, step, _place, head = row[:7]
        title, created, metadata, others = json.loads(head)
        return Chat(
            key, user, chat_id, title or "", live=live == "t", step=_step(step), created=created,
            metadata={**loads(others or "{}"), **_object(metadata)},
        )  # fmt: skip

    def total(self) -> int | None:
        return self._count(sql.SQL(TOTAL).format(**self._parts()))

    def _query(self, after: str) -> sql.Composed:
        return sql.SQL(QUERY).format(**self._parts(), after=sql.Literal(after))

    def _parts(self) -> dict[str, sql.Composable]:
        kind = self.types[self.fields["messages"]]
        messages = sql.Identifier(self.fields["messages"])
        json_kind = kind if kind in {"json", "jsonb"} else ""
        is_array = f"coalesce({json_kind}_typeof(t.{{}}) = 'array', false)" if json_kind else "(t.{} IS NULL AND false)"
        return {
            "table": self._table(), "id": self.text("id"), "user": self.text("user_id"), "chat": self.text("chat_id"),
            "live": self._live(), "step": self.text("step"), "title": self.text("title"),
            "created": self.moment("created_at"), "metadata": self.text("metadata"), "messages": messages,
            "others": self.others(),
            "list": sql.SQL("t.{}" if json_kind else "ARRAY[t.{}]").format(messages),
            "is_array": sql.SQL(is_array).format(messages),
            "elements": sql.SQL(f"{json_kind}_array_elements" if json_kind else "unnest"),
            "length": sql.SQL(f"{json_kind}_array_length" if json_kind else "length"),
        }  # fmt: skip

    def _live(self) -> sql.Composed:
        """Of several sessions of one person in one chat the latest goes on."""
        if "chat_id" not in self.fields:
            return sql.SQL("true").format()
        return sql.SQL(
            "row_number() OVER (PARTITION BY {}, {} ORDER BY coalesce({}, {}) DESC NULLS LAST, {} DESC) = 1"
        ).format(
            self.text("chat_id"), self.text("user_id"), self.moment("updated_at"), self.moment("created_at"),
            self.text("id"),
        )  # fmt: skip


def _object(text: str | None) -> dict[str, Any]:
    """Metadata as an object, whatever it is."""
    if not text:
        return {}
    try:
        value = loads(text)
    except ValueError:
        value = text
    return value if isinstance(value, dict) else {"metadata": value}


def _step(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else 0
