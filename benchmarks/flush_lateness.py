"""From the end of the quiet time to the first line of the turn: people write, real workers seal and run."""

from __future__ import annotations

import statistics
import time
from typing import Any

from benchmarks.queue_common import percentile, row, show
from benchmarks.queue_lateness import FEW, WAITING, fill
from config.logs import configure
from conversations.buffering import receive
from tests.chaos.history import History
from tests.chaos.model import model
from tests.chaos.world import World, eventually, world
from tests.conversing import conversation

OWN_SERVER = True

PER_SECOND = 20  # bursts that come due
LATENESS = "SELECT extract(epoch FROM started_at - due_at)::float8 * 1000 FROM turns WHERE attempts > 0"
UNFINISHED = (
    "SELECT (SELECT count(*) FROM message_buffers)"
    " + (SELECT count(*) FROM turns WHERE status IN ('waiting', 'running'))"
)


def lateness(made: World, number: int, *, waiting: int = WAITING, processes: int = 3) -> list[float]:
    """Milliseconds from due to started, of one burst per conversation, while the model takes its time."""
    history = History(made.folder / "history.jsonl")
    chats = [conversation() for _ in range(number)]
    with model(history, seed=1) as served:
        fill(made, waiting)
        made.worker(processes, PARLEY_MODEL=str(served.port), LOG_LEVEL="WARNING")
        begun = time.monotonic()
        for count, chat in enumerate(chats):
            time.sleep(max(0.0, begun + count / PER_SECOND - time.monotonic()))
            receive(chat, "Hello")
        eventually(lambda: made.rows(UNFINISHED) == [(0,)], 60, "everything is answered")
        made.stop_workers()
    history.close()
    return [float(late) for (late,) in made.rows(LATENESS)]


def run(quick: bool = False) -> list[dict[str, Any]]:
    configure(level="WARNING", as_json=True)
    with world("tests.chaos.talk_settings") as made, made.connected():
        late = lateness(made, 10 if quick else 400, waiting=FEW if quick else WAITING)
    stock = "django-q2 schedules: up to 30 s"
    return [
        row("burst, turn started minus due, p50", statistics.median(late), "ms", "<= 10", stock),
        row("burst, turn started minus due, p99", percentile(late, 0.99), "ms", "<= 50", stock),
        row("burst, turn started minus due, max", max(late), "ms", "", ""),
    ]


if __name__ == "__main__":
    show(run())
