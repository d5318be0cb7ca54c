"""Empty tasks per second through the queue, against stock django-q2 in the same run on the same server."""

from __future__ import annotations

import statistics
import time
from typing import Any

from benchmarks import stock
from benchmarks.queue_common import row, show
from config.queue import defer
from tests.chaos.stage import tasks  # noqa: F401
from tests.chaos.world import World, eventually, world

OWN_SERVER = True


def enqueue(number: int) -> float:
    """Enqueued per second, each in a transaction of its own."""
    begun = time.monotonic()
    for _ in range(number):
        defer("stage.nothing")
    return number / (time.monotonic() - begun)


def drain(made: World, number: int, processes: int) -> float:
    """Executed per second, from the first to the last that leaves the queue."""
    made.reset()
    enqueue(number)
    made.worker(processes, ready=False)
    eventually(lambda: made.count("name = 'stage.nothing'") < number, 30, "the first task ran")
    begun, first = time.monotonic(), made.count("name = 'stage.nothing'")
    eventually(lambda: made.count("name = 'stage.nothing'") == 0, 300, "drained")
    rate = first / (time.monotonic() - begun)
    made.stop_workers()
    return rate


def run(quick: bool = False) -> list[dict[str, Any]]:
    ours_n, stock_n, rounds = (200, 20, 1) if quick else (4000, 1000, 3)
    ours, plain, tuned, rates = [], [], [], []
    with world() as made, made.connected():
        stock.prepare(made.cluster)
        for _ in range(rounds):
            rates.append(enqueue(ours_n // 4))
            ours.append(drain(made, ours_n, 2))
            plain.append(stock.throughput(made.cluster, stock_n))
            if not quick:
                tuned.append(stock.throughput(made.cluster, stock_n, tuned=True))
    mine, peer = statistics.median(ours), statistics.median(plain)
    beside = [statistics.median(tuned)] if tuned else []
    return [
        row("queue throughput / stock django-q2, its defaults", mine / peer, "x", ">= 5", f"stock {peer:.0f}/s"),
        *(row("queue throughput / stock django-q2, tuned", mine / rate, "x", "", "save_limit -1") for rate in beside),
        row("queue throughput, empty task", mine, "tasks/s", "", f"stock {peer:.0f}/s"),
        row("defer, one transaction each", statistics.median(rates), "tasks/s", "", ""),
    ]


if __name__ == "__main__":
    show(run())
