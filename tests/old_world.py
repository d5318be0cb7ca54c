"""The system that is being left: a database of its own beside the test's, files, and an import of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import psycopg
from psycopg import sql

from conversations.legacy import batches
from conversations.legacy.batches import Terms
from conversations.legacy.cleaning import Rules
from conversations.legacy.detecting import source_of
from conversations.legacy.report import Report
from conversations.legacy.sources import Options
from conversations.models import ImportBatch, ImportReject, Message
from tests import raw

FLAT = """
CREATE TABLE messages (id serial PRIMARY KEY, chat_id bigint, user_id bigint, role varchar(20), content text,
    character_count integer, created_at timestamp, deleted_at timestamp)
"""
SESSIONS = "CREATE TABLE chat_sessions (id text, user_id text, title text, messages jsonb, created_at timestamptz)"
BLOBS = """
CREATE TABLE conversations (id uuid DEFAULT gen_random_uuid(), user_id bigint, chat_id bigint, messages jsonb,
    metadata jsonb, created_at timestamp DEFAULT now(), updated_at timestamp DEFAULT now())
"""


class Old:
    """The old database; every statement commits."""

    def __init__(self, db: psycopg.Connection[Any], url: str) -> None:
        self.db, self.url = db, url

    def run(self, statement: str, *values: Any) -> Old:
        self.db.execute(statement, values)  # type: ignore[arg-type]
        return self

    def say(self, chat: Any, role: Any, content: Any, at: Any = "2024-01-01 10:00", deleted: Any = None) -> Old:
        row = (chat, chat, role, content, at, deleted)
        return self.run(
            "INSERT INTO messages (chat_id, user_id, role, content, created_at, deleted_at) VALUES"
            " (%s, %s, %s, %s, %s, %s)",
            *row,
        )

    def session(self, id_: str, messages: Any, user: str = "1") -> Old:
        return self.run("INSERT INTO chat_sessions VALUES (%s, %s, 'Talk', %s, now())", id_, user, json.dumps(messages))


@contextmanager
def old_database(*tables: str) -> Iterator[Old]:
    name = f"old_{uuid4().hex[:12]}"
    place = raw.parameters()
    with raw.connect() as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            with psycopg.connect(**{**place, "dbname": name}, autocommit=True) as db:
                url = f"postgresql://{place['user']}@{quote(place['host'], safe='')}:{place['port'] or 5432}/{name}"
                old = Old(db, url)
                for table in tables:
                    old.run(table)
                yield old
        finally:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def bring(where: str | Path, kind: str | None = None, *, options: Options | None = None, **terms: Any) -> ImportBatch:
    """Import it, by the default rules or those given."""
    given = Terms(terms.pop("rules", Rules()), **terms)
    return batches.bring(source_of(str(where), kind, options or Options()), given, by="anna")


def rehearse(where: str | Path, kind: str | None = None, **terms: Any) -> Report:
    return batches.rehearse(source_of(str(where), kind, Options()), Terms(Rules(), **terms))


def said(**filters: Any) -> list[tuple[str, str]]:
    """Role and content of every message, conversation by conversation, in order."""
    found = Message.objects.filter(**filters).order_by("conversation_id", "message_index")
    return list(found.values_list("role", "content"))


def reasons(batch: ImportBatch) -> list[str]:
    return list(ImportReject.objects.filter(batch=batch).order_by("id").values_list("reason", flat=True))


def file(folder: Path, content: Any, name: str = "old.json") -> Path:
    """A file of that content: bytes and text as they are, anything else as JSON."""
    path = folder / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path
