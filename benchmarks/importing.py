"""The import of a flat table and of a file, beside raw COPY of the very rows that the import stored.

Raw COPY writes the rows, ready made, with the columns that the import sends, into a table with the columns, checks,
primary key and unique indexes of `messages`, in one statement: no reading of a source, no cleaning, no trigger, no
foreign key, no comparing. It is told without the indexes, too. The import is measured whole: from the first read to the
last conversation compared.
"""

from __future__ import annotations

import io
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.rounds import Row, row

SAID = "Hello there, how are you today? I would like to know about the trip we spoke of. "
OLD = """
CREATE TABLE IF NOT EXISTS old_messages AS
SELECT n AS id, n / 50 AS chat_id, n / 50 AS user_id, CASE WHEN n % 2 = 0 THEN 'user' ELSE 'assistant' END AS role,
    '{said}' || n AS content, length('{said}' || n) AS character_count,
    timestamp '2024-01-01' + n * interval '1 second' AS created_at, NULL::timestamp AS deleted_at
FROM generate_series(0, {size} - 1) AS n
"""
BARE = """
CREATE TABLE IF NOT EXISTS bare_messages (LIKE messages INCLUDING ALL);
CREATE TABLE IF NOT EXISTS heap_messages (LIKE messages INCLUDING DEFAULTS INCLUDING GENERATED INCLUDING CONSTRAINTS);
TRUNCATE bare_messages, heap_messages;
"""


def run(quick: bool = False) -> list[Row]:
    from django.db import connection

    size, rounds = (5_000, 1) if quick else (200_000, 3)
    with connection.cursor() as cursor:
        cursor.execute(OLD.format(said=SAID, size=size))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "old.jsonl"
        written(path, size)
        found = [once(str(path), size) for _ in range(rounds)]
    middle = {name: statistics.median(one[name] for one in found) for name in found[0]}
    bare = middle["bare"]
    return [
        row("import of a flat table", size / middle["table"], "messages/s"),
        row("import of a flat table", bare / middle["table"], "x", ">= 0.5", "raw COPY with the same indexes"),
        row("import of a flat table", middle["heap"] / middle["table"], "x", "", "raw COPY without indexes"),
        row("import of JSON lines", bare / middle["file"], "x", ">= 0.5", "raw COPY with the same indexes"),
        row("import again, nothing new", size / middle["again"], "messages/s"),
    ]


def once(path: str, size: int) -> dict[str, float]:
    """Everybody once; every round starts with an empty log."""
    took = {
        "table": timed(lambda: bring(os.environ["DATABASE_URL"], table="old_messages")),
        "again": timed(lambda: bring(os.environ["DATABASE_URL"], table="old_messages")),
    }
    rows = taken_out(size)
    took |= {name: timed(lambda name=name: put_in(name, rows)) for name in ("bare", "heap")}
    emptied()
    took["file"] = timed(lambda: bring(path))
    emptied()
    return took


def bring(where: str, **options: Any) -> None:
    from conversations.legacy import batches
    from conversations.legacy.cleaning import Rules
    from conversations.legacy.detecting import source_of
    from conversations.legacy.sources import Options

    kind = "messages" if options else None
    batch = batches.bring(source_of(where, kind, Options(**options)), batches.Terms(Rules()), by="bench")
    assert batch.status == "done", batch.status


COLUMNS = (
    "(conversation_id, message_index, role, content, metadata, external_id, author, inbound, import_id, created_at,"
    " deleted_at)"
)


def taken_out(size: int) -> bytes:
    """The rows as the import stored them, in the text that COPY reads."""
    from django.db import connection

    out = io.BytesIO()
    with connection.cursor() as cursor, cursor.copy(f"COPY messages {COLUMNS} TO STDOUT") as copy:
        for block in copy:
            out.write(block)
    assert out.getvalue().count(b"\n") == size
    return out.getvalue()


def put_in(name: str, rows: bytes) -> None:
    from django.db import connection

    with connection.cursor() as cursor, cursor.copy(f"COPY {name}_messages {COLUMNS} FROM STDIN") as copy:
        for start in range(0, len(rows), 1 << 18):
            copy.write(rows[start : start + (1 << 18)])


def emptied() -> None:
    from django.db import connection, transaction

    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL parley.erasing = 'on'")
        cursor.execute("TRUNCATE conversations, messages, imports, import_chats, import_shares, import_rejects CASCADE")
        cursor.execute(BARE)


def written(path: Path, size: int) -> None:
    """Fifty messages a line, as model vendors write them."""
    with path.open("w") as file:
        for chat in range(size // 50):
            messages = [
                {"role": ("user", "assistant")[n % 2], "content": f"{SAID}{n}", "timestamp": 1_704_067_200 + n}
                for n in range(chat * 50, chat * 50 + 50)
            ]
            file.write(json.dumps({"id": chat, "user_id": chat, "messages": messages}) + "\n")
    emptied()


def timed(deed: Callable[[], object]) -> float:
    started = time.perf_counter()
    deed()
    return time.perf_counter() - started
