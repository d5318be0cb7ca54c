"""`log.append` beside its peers, beside the bare insert, and with fifty writers."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import ExitStack
from uuid import UUID

from benchmarks.rounds import Row, medians, peer, peers_are_there, pgbench, row

TEXT = "hello there, how are you today?"
PEERS = (  # script, what is to be reached, name
    ("langchain_postgres_add", ">= 1.3", "langchain-postgres add_messages"),
    ("openai_agents_add", ">= 5", "openai-agents SQLAlchemySession.add_items"),
)

# The same row into a table with the same columns, checks and indexes, numbered by the same kind of counter, in the
# fewest words SQL has for it; what is missing are our triggers, and Python.
BARE_TABLES = """
CREATE TABLE bare_conversations (LIKE conversations INCLUDING ALL);
CREATE TABLE bare_messages (LIKE messages INCLUDING ALL,
    FOREIGN KEY (conversation_id) REFERENCES bare_conversations (id) ON DELETE CASCADE);
INSERT INTO bare_conversations (user_id) VALUES (1);
"""
BARE = f"""
WITH counter AS (UPDATE bare_conversations SET message_count = message_count + 1, last_message_at = clock_timestamp(),
    updated_at = clock_timestamp() WHERE id = '{{id}}' RETURNING id, message_count - 1 AS index)
INSERT INTO bare_messages (conversation_id, message_index, role, content)
SELECT id, index, 'user', '{TEXT}' FROM counter RETURNING id, message_index, created_at
"""


def run(quick: bool = False) -> list[Row]:
    from django.db import connection

    from conversations import log, sessions

    operations, rounds = (50, 1) if quick else (600, 11)
    conversation = sessions.open(1)[0].pk
    with connection.cursor() as cursor:
        cursor.execute(BARE_TABLES)
        cursor.execute("SELECT id FROM bare_conversations")
        bare = BARE.format(id=cursor.fetchone()[0])
    called = f"SELECT * FROM append_message('{conversation}', 'user', '{TEXT}')"

    def ours() -> float:
        started = time.perf_counter()
        for _ in range(operations):
            log.append(conversation, "user", TEXT)
        return operations / (time.perf_counter() - started)

    contestants = {
        "ours": ours,
        "bare": lambda: pgbench(bare, operations),
        "function": lambda: pgbench(called, operations),
    }
    peers = () if quick and not peers_are_there() else PEERS
    with ExitStack() as running:
        for script, _reach, _name in peers:
            measure = running.enter_context(peer(script))
            contestants[script] = lambda measure=measure: measure(operations)
        rates = medians(contestants, rounds)
    mine = rates["ours"]
    return [
        row("append, one connection, durable commit", mine, "/s"),
        *(row("append", mine / rates[script], "x", reach, name) for script, reach, name in peers),
        row("append", mine / rates["bare"], "x", ">= 0.45", "the same insert without triggers, pgbench"),
        row("append", mine / rates["function"], "x", "", "append_message(), pgbench"),
        *crowds(quick=quick),
    ]


def crowds(*, quick: bool) -> list[Row]:
    """Fifty processes at once; every message they were told of is there, in a row without a gap."""
    from conversations import log, sessions

    writers, each = (10, 5) if quick else (50, 200)
    rows = []
    for number, reach in ((1, ">= 300"), (10, ">= 1000")):
        ids = [sessions.open(user)[0].pk for user in range(number)]
        rate = crowd(ids, writers, each)
        gaps = sum(
            [entry.message_index for entry in log.history(pk)] != list(range(writers * each // number)) for pk in ids
        )
        rows.append(row(f"{writers} writers, {number} conversation(s)", rate, "/s", "" if quick else reach))
        rows.append(row(f"{writers} writers, {number} conversation(s)", gaps, "conversations with gaps", "<= 0"))
    return rows


def crowd(ids: list[UUID], writers: int, each: int) -> float:
    """Messages a second, from the first one stored to the last."""
    command = [sys.executable, "-m", "tests.writers", ",".join(map(str, ids)), str(writers), str(each), "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        stored, started = 0, 0.0
        for line in process.stdout:
            assert not line.startswith("failed"), line
            if line.startswith("stored"):
                started = started or time.perf_counter()
                stored += 1
    assert stored == writers * each
    return stored / (time.perf_counter() - started)
