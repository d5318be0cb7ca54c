"""The queue: django-q2 runs the tasks, PostgreSQL decides which, when and how often (docs/adr/0010).

    from config.queue import defer, task

    @task("turns.flush", timeout=60, attempts=5)
    def flush(conversation_id: str) -> None: ...

    defer("turns.flush", str(conversation.id), at=buffer.flush_at, key=["flush", str(conversation.id)])

A task is a wake-up: it says "look at this row now" and may come late, early or twice. Losing every one of them loses
nothing, because the finders of `sweep` look for overdue rows.
"""

from config.queue.broker import Broker
from config.queue.deferring import defer, signed
from config.queue.errors import ArgumentsError, QueueError, UnknownTaskError, UnreadableError
from config.queue.registry import before_work, every, task
from config.queue.running import run, run_due
from config.queue.sweeping import finder, sweep

__all__ = [
    "ArgumentsError",
    "Broker",
    "QueueError",
    "UnknownTaskError",
    "UnreadableError",
    "before_work",
    "defer",
    "every",
    "finder",
    "run",
    "run_due",
    "signed",
    "sweep",
    "task",
]
