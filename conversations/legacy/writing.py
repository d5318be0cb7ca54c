"""One chunk into the log: what is new behind what is there, the rest counted, everything in one transaction.

Messages come by COPY with the indexes that continue their conversations; the trigger of `messages` checks and counts
them. Then the row of the import is locked. It says whether the chunk was written before: a commit whose answer was lost
is not repeated, and of two processes with the same import the older one stops.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import structlog
from django.db import DataError, Error, IntegrityError, InterfaceError, OperationalError, connection, transaction

from config.crash import crash_point
from conversations.legacy import placing, rejects, rows, waiting
from conversations.legacy.chunks import Chunk
from conversations.legacy.cleaning import encode
from conversations.legacy.errors import TakenOverError, WentBackError
from conversations.legacy.placing import Plan, Run
from conversations.legacy.records import Clean
from conversations.legacy.report import Report

log = structlog.get_logger(__name__)

ROWS = 500  # handed over at once: small enough that PostgreSQL is at work while the next ones are made
TRIES = 6
FIRST_PAUSE = 0.5  # seconds, doubled with every try


class WrittenBeforeError(Exception):
    """The chunk is in the log already, and the place behind it."""


def write(run: Run, chunk: Chunk, failed: Exception | None = None) -> None:
    """Store the chunk and the place behind it, in as many tries as it takes; `failed`: how the first one ended."""
    tries = Tries(chunk)
    while True:
        try:
            if failed:
                raise failed
            once(run, chunk, careful=tries.careful)
        except Error as error:
            failed = None
            tries.failed(error)
        else:
            return


@dataclass
class Tries:
    """Locks, outages and a message that came twice cost another try."""

    chunk: Chunk
    careful: bool = False
    number: int = 0

    def failed(self, error: Error) -> None:
        """Make the next try a better one, or raise where there is no use in it."""
        self.number += 1
        if isinstance(error, IntegrityError) and not self.careful:
            self.careful = True  # an id twice in the source: look every one up
        elif isinstance(error, OperationalError | InterfaceError) and self.number < TRIES:
            log.warning("import waits", reason=str(error).splitlines()[0], tried=self.number)
            connection.close_if_unusable_or_obsolete()
            time.sleep(FIRST_PAUSE * 2 ** (self.number - 1))
        elif not isinstance(error, DataError) or not mended(self.chunk):
            raise error


class Course:
    """What is told while a chunk is written. Alone, there is nobody to tell and nobody to wait for."""

    patience = "0"  # for a lock: as long as it takes

    def prepared(self) -> None:
        """Its conversations are found: may its rows be sent?"""

    def sent(self) -> None:
        """The database has all of them."""

    def turn(self) -> None:
        """It could be committed: is the chunk before?"""


ALONE = Course()


def once(run: Run, chunk: Chunk, course: Course = ALONE, *, careful: bool = False) -> None:
    """One try."""
    try:
        with transaction.atomic():
            report = _once(run, chunk, course, careful=careful)
    except WrittenBeforeError:
        report = _report_of(run)
    run.report, run.position, run.seen = report, chunk.place, set(chunk.chats)
    crash_point("after_import_chunk")


def _once(run: Run, chunk: Chunk, course: Course, *, careful: bool) -> Report:
    """What the import has come to when this is committed."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('statement_timeout', '0', true), set_config('lock_timeout', %s, true)", [course.patience]
        )
    plan = placing.prepared(run, chunk, careful=careful)
    crash_point("before_import_copy")
    course.prepared()
    send(run, plan, chunk, course)
    course.turn()
    _claim(run, chunk)
    settle(run, plan)
    rejects.keep(run.home.batch, plan.rejects, plan.talks)
    plan.report.conversations = len(chunk.chats.keys() - run.seen)
    report = run.report.plus(plan.report)
    _move_on(run, chunk, report)
    crash_point("in_import_chunk")
    return report


def send(run: Run, plan: Plan, chunk: Chunk, course: Course = ALONE) -> None:
    """The messages themselves; the plan is complete then."""
    _copy(placing.rows(run, plan, chunk), course)
    crash_point("after_import_copy")


def settle(run: Run, plan: Plan) -> None:
    """What the import has brought by them, and the bursts that were open. Behind the lock on the import (ADR 0132)."""
    _share(run, plan)
    waiting.reopen(run.home, plan.waiting)


def mended(chunk: Chunk) -> bool:
    """Metadata that is JSON to Python and not to PostgreSQL is kept as a text. Was there any?"""
    found = [item for item in chunk.items if isinstance(item, Clean) and item.metadata != "{}"]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT place - 1 FROM unnest(%s::text[]) WITH ORDINALITY AS given (text, place)"
            " WHERE NOT pg_input_is_valid(text, 'jsonb')",
            [[item.metadata for item in found]],
        )
        wrong = [found[place] for (place,) in cursor.fetchall()]
    for item in wrong:
        item.metadata = encode({"import": {"metadata": item.metadata}})
    return bool(wrong)


def _copy(made: Iterator[bytes], course: Course) -> None:
    first = b"".join(islice(made, ROWS))
    if not first:
        course.sent()
        return
    connection.ensure_connection()
    with connection.wrap_database_errors, connection.connection.cursor() as cursor, cursor.copy(rows.COPY) as copy:
        copy.write(rows.HEADER)
        copy.write(first)
        while some := b"".join(islice(made, ROWS)):
            copy.write(some)
        copy.write(rows.TRAILER)
        course.sent()


SHARE = """
INSERT INTO import_shares AS share (batch_id, conversation_id, opened, messages, checksum, first_index, last_index)
SELECT %(batch)s, * FROM unnest(%(ids)s::uuid[], %(opened)s::boolean[], %(numbers)s::bigint[], %(sums)s::numeric[],
    %(first)s::bigint[], %(last)s::bigint[])
ON CONFLICT (batch_id, conversation_id) DO UPDATE SET
    messages = share.messages + EXCLUDED.messages, checksum = share.checksum + EXCLUDED.checksum,
    first_index = coalesce(share.first_index, EXCLUDED.first_index),
    last_index = coalesce(EXCLUDED.last_index, share.last_index), state = 'written', updated_at = clock_timestamp()
"""


def _share(run: Run, plan: Plan) -> None:
    """What this import brought to which conversation, with the checksum of what was read."""
    shares = [talk for talk in plan.talks.values() if talk.conversation and (talk.fresh or talk.brought)]
    values: dict[str, Any] = {
        "batch": run.home.batch,
        "ids": [talk.conversation for talk in shares],
        "opened": [talk.opened for talk in shares],
        "numbers": [talk.brought for talk in shares],
        "sums": [talk.checksum for talk in shares],
        "first": [talk.index - talk.brought if talk.brought else None for talk in shares],
        "last": [talk.index - 1 if talk.brought else None for talk in shares],
    }
    if shares:
        with connection.cursor() as cursor:
            cursor.execute(SHARE, values)


CLAIMED = "SELECT generation, position, updated_at FROM imports WHERE id = %s FOR UPDATE"
MOVE_ON = """
UPDATE imports SET position = %(position)s, read = %(read)s, brought = %(brought)s, known = %(known)s,
    rejected = %(rejected)s, report = %(report)s, updated_at = clock_timestamp() WHERE id = %(id)s
"""


def _claim(run: Run, chunk: Chunk) -> None:
    """Is it our turn? It may be committed, the answer lost, and somebody else may be at the import by now."""
    with connection.cursor() as cursor:
        cursor.execute(CLAIMED, [run.home.batch])
        generation, stored, run.settled = cursor.fetchone()
    position = stored and json.loads(stored)
    if generation != run.generation:
        raise TakenOverError
    if position != run.position:
        raise WrittenBeforeError if position == chunk.place else WentBackError


def _report_of(run: Run) -> Report:
    with connection.cursor() as cursor:
        cursor.execute("SELECT report FROM imports WHERE id = %s", [run.home.batch])
        return Report.of(json.loads(cursor.fetchone()[0]))


def _move_on(run: Run, chunk: Chunk, report: Report) -> None:
    values = {name: getattr(report, name) for name in ("read", "brought", "known", "rejected")}
    told: dict[str, Any] = {"position": encode(chunk.place), "report": encode(report.as_json()), "id": run.home.batch}
    with connection.cursor() as cursor:
        cursor.execute(MOVE_ON, {**values, **told})
