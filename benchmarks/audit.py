"""What does it cost to be on record? Small transactions alone and with an entry, by one writer and by eight."""

from __future__ import annotations

import os
import statistics
import threading
import time
from typing import Any

from benchmarks.rounds import row


def run(quick: bool = False) -> list[dict[str, Any]]:
    """Transactions per second, median of three; the database waits for the disk as in production."""
    seconds, rounds = (0.5, 1) if quick else (3.0, 3)
    plain, recorded = {}, {}
    for writers in (1, 8):
        plain[writers] = statistics.median(_rate(writers, seconds, audited=False) for _ in range(rounds))
        recorded[writers] = statistics.median(_rate(writers, seconds, audited=True) for _ in range(rounds))
    return [
        row(f"an action on record, {writers} writers", recorded[writers] / plain[writers], "x", "", "not on record")
        for writers in plain
    ] + [row(f"actions on record, {writers} writers", recorded[writers], "/s") for writers in plain]


def _rate(writers: int, seconds: float, *, audited: bool) -> float:
    from django.db import connection, transaction

    from agents import audit

    done = [0] * writers
    until = time.monotonic() + seconds

    def work(name: int) -> None:
        while time.monotonic() < until:
            with transaction.atomic():
                with connection.cursor() as cursor:
                    cursor.execute("INSERT INTO benchmark_deeds (writer) VALUES (%s)", [name])
                if audited:
                    audit.record("test.deed", f"user:{name}", ("thing", done[name]), {"n": 1})
            done[name] += 1
        connection.close()

    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS benchmark_deeds (id bigserial PRIMARY KEY, writer int)")
    threads = [threading.Thread(target=work, args=(name,)) for name in range(writers)]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(done) / (time.monotonic() - started)


if __name__ == "__main__":
    from config.database import SAFE, throwaway

    with throwaway(SAFE) as server:
        os.environ |= {"DATABASE_URL": server.url, "DJANGO_SETTINGS_MODULE": "config.settings"}
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0)
        for line in run():
            print(line)
