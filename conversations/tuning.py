"""The debounce tuner: how would other windows have cut the bursts that people really wrote?

It replays the pauses between stored messages. A pause within a thought should be shorter than the window; every answer
waits one window. So each window is a trade: thoughts split in two against seconds that everybody waits.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import connection

LATEST = 20_000  # messages looked at, the newest: it costs the same however long the log is
UNREAD = 3.0  # seconds after an answer in which nobody has read it: what comes then was begun before
WINDOWS = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0, 15.0, 20.0)
THOUGHTS = (15, 30, 60, 120)  # seconds; who says nothing for longer has begun another thought
TOLERATED = 0.05  # of the thoughts: the window that is suggested splits no more

# By the primary key, which is in the order of time. Conversations whose times say nothing about people are left out:
# those of the playground (channel `web`), and imports in which a time was missing or all are equal.
TIMES = """
WITH latest AS MATERIALIZED (
    SELECT id, conversation_id, message_index, role, created_at, import_id, metadata FROM messages
    ORDER BY id DESC LIMIT %s
)
SELECT conversation_id, role = 'user', created_at FROM latest
WHERE role IN ('user', 'assistant') AND conversation_id NOT IN (
    SELECT conversation_id FROM latest WHERE import_id IS NOT NULL GROUP BY conversation_id
    HAVING bool_or(metadata #>> '{import,time}' IS NOT NULL) OR count(*) > 1 AND min(created_at) = max(created_at)
) AND NOT EXISTS (SELECT FROM conversations WHERE id = conversation_id AND channel = 'web')
ORDER BY conversation_id, message_index
"""

Said = tuple[UUID, bool, datetime]  # conversation, did the person say it, when


@dataclass(frozen=True, slots=True)
class Replayed:
    """One window, and what it would have done."""

    window: float
    thoughts: int
    split: int  # answered before they were finished

    @property
    def share(self) -> float:
        return self.split / self.thoughts if self.thoughts else 0.0


def times(limit: int = LATEST) -> list[Said]:
    """When the newest messages were said, conversation by conversation."""
    with connection.cursor() as cursor:
        cursor.execute(TIMES, [limit])
        return list(cursor.fetchall())


def pauses(said: Iterable[Said]) -> list[list[float]]:
    """Per conversation, the seconds between messages of the person that no answer explains."""
    found: dict[UUID, list[float]] = {}
    before: dict[UUID, datetime] = {}
    answered: dict[UUID, datetime] = {}
    for conversation, theirs, at in said:
        if not theirs:
            answered.setdefault(conversation, at)
            continue
        own = found.setdefault(conversation, [])
        first_answer = answered.pop(conversation, None)
        if conversation in before:
            read = first_answer is not None and (at - first_answer).total_seconds() > UNREAD
            own.append(float("inf") if read else max(0.0, (at - before[conversation]).total_seconds()))
        before[conversation] = at
    return list(found.values())


def replay(by_conversation: Iterable[Sequence[float]], *, thought: float) -> list[Replayed]:
    """Every window over the same pauses. A pause longer than `thought` ends a thought by itself."""
    within: list[list[float]] = []  # the pauses of each thought
    for conversation in by_conversation:
        within.append([])
        for pause in conversation:
            if pause > thought:
                within.append([])
            else:
                within[-1].append(pause)
    longest = sorted(max(thoughts, default=0.0) for thoughts in within)
    return [Replayed(window, len(longest), len(longest) - bisect_right(longest, window)) for window in WINDOWS]


def suggested(rows: Sequence[Replayed]) -> float | None:
    """The shortest window that is good enough, if one is."""
    return next((row.window for row in rows if row.thoughts and row.share <= TOLERATED), None)
