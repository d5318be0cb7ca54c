"""The start page and /metrics are asked again every half minute: none of their numbers may read a whole table."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from config import figures, metrics
from tests import emptying
from tests.schema.test_plans import nodes

pytestmark = pytest.mark.django_db(transaction=True)

SIZE = 20_000
FILL = f"""
INSERT INTO conversations (user_id) SELECT n FROM generate_series(1, {SIZE}) n;
INSERT INTO messages (id, conversation_id, message_index, role, content, inbound)
SELECT uuidv7(-user_id * interval '1 hour'), id, 0, 'user', 'hi', true FROM conversations;
UPDATE conversations SET last_message_at = clock_timestamp() - user_id * interval '1 hour';
INSERT INTO turns (conversation_id, interview_step, flush_id, trigger, input, status, created_at)
SELECT id, 0, id::text, 'debounce', '[]', 'done', clock_timestamp() - user_id * interval '1 hour' FROM conversations;
INSERT INTO deliveries (message_id, channel, status, created_at)
SELECT id, 'telegram', 'sent', uuid_extract_timestamp(id) FROM messages;
INSERT INTO message_fates (message_id, fate) SELECT id, 'skipped' FROM messages;
"""
BIG = {"conversations", "messages", "turns", "deliveries", "message_fates"}


def test_no_number_reads_a_whole_table() -> None:
    emptying.truncate()  # or the plans depend on what earlier tests left in the indexes
    values = {"since": timezone.now() - timedelta(hours=23), "ago": timedelta(hours=23)}
    with connection.cursor() as cursor:
        cursor.execute(FILL)
        cursor.execute("VACUUM (ANALYZE) conversations, messages, turns, deliveries, message_fates")
        for one in [*figures.FIGURES, *figures.CHARTS, *metrics.NUMBERS]:
            asked = values if isinstance(one, figures.Chart) else None
            cursor.execute(f"EXPLAIN (FORMAT JSON) {one.query}", asked)
            [plan] = cursor.fetchone()[0]
            for node in nodes(plan["Plan"]):
                assert node["Node Type"] != "Seq Scan" or node["Relation Name"] not in BIG, one
