"""An import that is killed again and again ends like one that was not, checksum by checksum."""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from conversations.legacy.batches import get
from conversations.models import ImportBatch, ImportShare, ImportStatus
from tests.chaos.world import SEED
from tests.integration.test_crashes import environment
from tests.old_world import FLAT, Old, bring, old_database
from tests.patience import LONG
from tests.processes import eventually, running

pytestmark = pytest.mark.django_db(transaction=True)
MESSAGES, KILLS, CHUNK = (1_000_000, 10, 5_000) if LONG else (20_000, 4, 500)
FILL = """
INSERT INTO messages (chat_id, user_id, role, content, created_at, deleted_at)
SELECT mod(n * n, %(chats)s), mod(n * n, %(chats)s),
    CASE WHEN mod(n, 997) = 0 THEN 'robot' WHEN mod(n, 2) = 0 THEN 'user' ELSE 'assistant' END,
    repeat('text ', mod(n, 20)::int) || n,
    -- A first message without a time would take that of the import, which is another one the second time.
    CASE WHEN mod(n, 7) > 0 OR n <= %(chats)s THEN timestamp '2024-01-01' + n * interval '1 second' END,
    CASE WHEN mod(n, 11) = 0 THEN timestamp '2025-01-01' END
FROM generate_series(1, %(messages)s::bigint) n
"""
SUMS = """
SELECT encode(sha256(string_agg(line, '' ORDER BY line)::bytea), 'hex'), count(*) FROM (
    SELECT chat_id || ':' || count(*) || ':' || sum(message_digest(message_index, role, messages.content,
        messages.created_at, messages.deleted_at)) AS line
    FROM messages JOIN conversations ON conversations.id = conversation_id GROUP BY chat_id
) AS talk
"""
RUN = (
    "import sys, django; django.setup(); from conversations.legacy import chunks;"
    "chunks.chunks.__kwdefaults__['most'] = int(sys.argv[2]);"
    "from django.core.management import call_command; call_command('import_conversations', sys.argv[1])"
)


@pytest.fixture
def old(transactional_db: None) -> Iterator[Old]:
    with old_database(FLAT) as world:
        world.db.execute(FILL, {"messages": MESSAGES, "chats": MESSAGES // 97})
        yield world


def sums() -> Any:
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        cursor.execute(SUMS)
        return cursor.fetchone()


def read() -> int:
    return sum(ImportBatch.objects.values_list("read", flat=True))


@pytest.mark.long
def test_killed_again_and_again_it_ends_like_one_that_was_not(old: Old) -> None:
    dice = random.Random(SEED)  # noqa: S311  repeatable, not secret
    marks = sorted(dice.sample(range(CHUNK, MESSAGES - 2 * CHUNK), KILLS))
    killed = 0
    for mark in marks:
        with running(sys.executable, "-c", RUN, old.url, str(CHUNK), **environment()) as child:
            eventually(
                lambda mark=mark, child=child: read() >= mark or child.process.poll() is not None, f"{mark} read"
            )
            if child.process.poll() is None:
                os.kill(child.process.pid, signal.SIGKILL)
                killed += 1
            child.exit_code()
    assert killed >= KILLS // 2, "it was too fast to be killed: nothing is proved"
    batch = bring(old.url)
    assert (ImportBatch.objects.count(), batch.status, batch.read) == (1, ImportStatus.DONE, MESSAGES)
    assert not ImportShare.objects.exclude(state="equal").exists()
    interrupted = sums()
    with connection.cursor() as cursor:
        cursor.execute("SET parley.erasing = 'on'")
        cursor.execute("TRUNCATE conversations, messages, imports, import_chats, import_shares, import_rejects CASCADE")
        cursor.execute("RESET parley.erasing")
    smooth = bring(old.url)
    assert sums() == interrupted
    told = ("read", "brought", "known", "rejected")
    assert [getattr(smooth, name) for name in told] == [getattr(batch, name) for name in told]
    assert get(smooth.pk).report["roles"] == batch.report["roles"]
