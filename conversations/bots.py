"""Which bots run: each account has a row with a heartbeat, so that staff see one that went away."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import structlog
from django.db import DatabaseError, InterfaceError, connection
from django.utils.translation import gettext as _

from config.health import Result

logger = structlog.get_logger(__name__)

BEAT_EVERY = 10.0  # seconds
SILENT = 60.0  # seconds without a heartbeat after which a bot that was not stopped counts as gone

BEAT = """
INSERT INTO bots AS known (channel, account, host, pid) VALUES (%(channel)s, %(account)s, %(host)s, %(pid)s)
ON CONFLICT (channel, account) DO UPDATE SET
    host = EXCLUDED.host, pid = EXCLUDED.pid, beat_at = clock_timestamp(), updated_at = clock_timestamp(),
    stopped_at = NULL, started_at = CASE WHEN (known.host, known.pid) = (EXCLUDED.host, EXCLUDED.pid)
        AND known.stopped_at IS NULL THEN known.started_at ELSE clock_timestamp() END
"""
STOP = """
UPDATE bots SET stopped_at = clock_timestamp(), updated_at = clock_timestamp()
WHERE channel = %(channel)s AND account = %(account)s AND host = %(host)s AND pid = %(pid)s
"""
GONE = """
SELECT channel, account, extract(epoch FROM clock_timestamp() - beat_at)::float8 FROM bots
WHERE stopped_at IS NULL AND beat_at < clock_timestamp() - %s * interval '1 second' ORDER BY beat_at
"""
LIVING = "SELECT count(*) FROM bots WHERE stopped_at IS NULL"


@contextmanager
def alive(channel: str, account: str) -> Iterator[None]:
    """Let it be seen, for the length of the block, that this account is served; an outage of the database is waited
    out in silence, since others tell of it."""
    row: dict[str, Any] = {
        "channel": channel,
        "account": account[:100],
        "host": socket.gethostname(),
        "pid": os.getpid(),
    }
    over = threading.Event()
    thread = threading.Thread(target=_beat, args=(row, over), name="bot-heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _beat(row: dict[str, Any], over: threading.Event) -> None:
    try:
        while not over.is_set():
            _write(BEAT, row)
            over.wait(BEAT_EVERY)
        _write(STOP, row)
    finally:
        connection.close()


def _write(statement: str, row: dict[str, Any]) -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement, row)
    except (DatabaseError, InterfaceError):
        with suppress(DatabaseError, InterfaceError):
            connection.close()


OUTAGES = """
SELECT count(*), coalesce(sum(extract(epoch FROM ended_at - began_at)) / 60, 0)::float8, coalesce(sum(updates), 0),
    coalesce(sum(answers), 0), coalesce(sum(rejected + damaged), 0)
FROM outages WHERE ended_at > clock_timestamp() - interval '1 day'
"""


def outages() -> Result:
    """Did a bot have to answer without the database today?"""
    with connection.cursor() as cursor:
        cursor.execute(OUTAGES)
        number, minutes, updates, answers, lost = cursor.fetchone()
    if not number:
        return Result("outages", True, _("none in the last day"))
    numbers = {"minutes": f"{minutes:.1f}", "updates": updates, "answers": answers, "lost": lost}
    detail = _("minutes in the last day: %(minutes)s, updates: %(updates)d, answers: %(answers)d") % numbers
    if lost:
        detail += _("; could not be stored: %(lost)d, see DATA_DIR/journals") % numbers
    return Result("outages", False, detail, _("Why was the database away? The list of outages tells when."))


def bots() -> Result:
    """Does every bot that was not stopped still live?"""
    with connection.cursor() as cursor:
        cursor.execute(GONE, [SILENT])
        gone = cursor.fetchall()
        cursor.execute(LIVING)
        number = cursor.fetchone()[0] - len(gone)
    if gone:
        channel, account, age = gone[0]
        return Result(
            "bots",
            False,
            _("%(bot)s has given no sign for %(age)d s") % {"bot": f"{channel} {account}", "age": round(age)},
            _("Start it: `manage.py bot --channel %s`.") % channel,
        )
    return Result("bots", True, _("running: %d") % number if number else _("none runs"))
