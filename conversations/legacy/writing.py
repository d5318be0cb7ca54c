"""One chunk into the log: what is new behind what is there, the rest counted, everything in one transaction.

Messages come by COPY with the indexes that continue their conversations; the trigger of `messages` checks and counts
them. The row of the import is locked first and says whether the chunk was written before: a commit whose answer was
lost is not repeated, and of two processes with the same import the older one stops.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

import structlog
from django.db import DataError, IntegrityError, InterfaceError, OperationalError, connection, transaction

from config.crash import crash_point
from conversations.legacy import placing, rejects, rows, waiting
from conversations.legacy.chunks import Chunk
from conversations.legacy.cleaning import encode
from conversations.legacy.errors import TakenOverError
from conversations.legacy.placing import Plan, Run
from conversations.legacy.records import Clean
from conversations.legacy.report import Report

log = structlog.get_logger(__name__)

ROWS = 500  # handed over at once: small enough that PostgreSQL is at work while the next ones are made
TRIES = 6
FIRST_PAUSE = 0.5  # seconds, doubled with every try


def write(run: Run, chunk: Chunk) -> None:
    """Store the chunk and the place behind it; locks, outages and a message that came twice cost another try."""
    careful = False
    for number in range(1, TRIES + 1):
        try:
            report, seen = _write(run, chunk, careful=careful)
        except IntegrityError:
            if careful:
                raise
            careful = True  # an id twice in the source: look every one up
        except DataError:
            if not mended(chunk):
                raise
        except (OperationalError, InterfaceError) as error:
            if number == TRIES:
                raise
            log.warning("import waits", reason=str(error).splitlines()[0], tried=number)
            connection.close_if_unusable_or_obsolete()
            time.sleep(FIRST_PAUSE * 2 ** (number - 1))
        else:
            run.report, run.position, run.seen = report, chunk.place, seen
            crash_point("after_import_chunk")
            return


def _write(run: Run, chunk: Chunk, *, careful: bool) -> tuple[Report, set[str]]:
    """What is reported with it, and its chats."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 0")
            if _written_before(cursor, run, chunk):
                return _report_of(cursor, run), set()
        plan = placing.prepared(run, chunk, careful=careful)
        crash_point("before_import_copy")
        store(run, plan, chunk)
        rejects.keep(run.home.batch, plan.rejects, plan.talks)
        report = run.report.plus(plan.report)
        _move_on(run, chunk, report)
        crash_point("in_import_chunk")
    return report, set(plan.talks)


def store(run: Run, plan: Plan, chunk: Chunk) -> None:
    """The messages, what the import has brought by them, and the bursts that were open."""
    _copy(placing.rows(run, plan, chunk))
    crash_point("after_import_copy")
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


def _copy(made: Iterator[bytes]) -> None:
    first = b"".join(islice(made, ROWS))
    if not first:
        return
    connection.ensure_connection()
    with connection.wrap_database_errors, connection.connection.cursor() as cursor, cursor.copy(rows.COPY) as copy:
        copy.write(rows.HEADER + first)
        while some := b"".join(islice(made, ROWS)):
            copy.write(some)
        copy.write(rows.TRAILER)


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


def _written_before(cursor: Any, run: Run, chunk: Chunk) -> bool:
    """Was the chunk committed and the answer lost? Whoever started the import after us goes on alone."""
    cursor.execute(CLAIMED, [run.home.batch])
    generation, position, run.settled = cursor.fetchone()
    if generation != run.generation:
        raise TakenOverError
    return position is not None and json.loads(position) == chunk.place


def _report_of(cursor: Any, run: Run) -> Report:
    cursor.execute("SELECT report FROM imports WHERE id = %s", [run.home.batch])
    return Report.of(json.loads(cursor.fetchone()[0]))


def _move_on(run: Run, chunk: Chunk, report: Report) -> None:
    values = {name: getattr(report, name) for name in ("read", "brought", "known", "rejected")}
    told: dict[str, Any] = {"position": encode(chunk.place), "report": encode(report.as_json()), "id": run.home.batch}
    with connection.cursor() as cursor:
        cursor.execute(MOVE_ON, {**values, **told})
