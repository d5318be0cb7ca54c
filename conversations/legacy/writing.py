"""One chunk into the log: what is new behind what is there, the rest counted, everything in one transaction.

Messages come by COPY with the indexes that continue their conversations; the trigger of `messages` checks and counts
them. The row of the import is locked first and says whether the chunk was written before: a commit whose answer was
lost is not repeated, and of two processes with the same import the older one stops.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

import structlog
from django.db import DataError, IntegrityError, InterfaceError, OperationalError, connection, transaction

from config.crash import crash_point
from conversations import burst
from conversations.legacy import rejects, talks, waiting
from conversations.legacy.chunks import Chunk
from conversations.legacy.cleaning import encode, fitting
from conversations.legacy.digest import digest
from conversations.legacy.errors import TakenOverError
from conversations.legacy.moments import parse
from conversations.legacy.records import Broken, Chat, Clean, Place
from conversations.legacy.report import Report
from conversations.legacy.talks import Home, Talk
from conversations.legacy.waiting import Waiting
from conversations.models import RejectReason

log = structlog.get_logger(__name__)

COLUMNS = (
    "conversation_id", "message_index", "role", "content", "metadata", "external_id", "author", "inbound", "import_id",
    "created_at", "deleted_at",
)  # fmt: skip
COPY = f"COPY messages ({', '.join(COLUMNS)}) FROM STDIN"
ESCAPED = str.maketrans({"\\": r"\\", "\n": r"\n", "\r": r"\r", "\t": r"\t"})
TO_ESCAPE = re.compile(r"[\\\n\r\t]")
NULL = r"\N"
LINES = 2_000  # handed over at once
TRIES = 6
FIRST_PAUSE = 0.5  # seconds, doubled with every try


@dataclass
class Plan:
    """What is to be written of a chunk: `lines` are messages as COPY reads them."""

    lines: list[str] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)
    rejects: list[Broken] = field(default_factory=list)
    talks: dict[str, Talk] = field(default_factory=dict)
    report: Report = field(default_factory=Report)


@dataclass
class Run:
    """An import that this process is at."""

    home: Home
    generation: int
    report: Report
    position: Place | None = None
    seen: set[str] = field(default_factory=set)  # chats, where nothing is written that would remember them
    undone: list[str] = field(default_factory=list)  # earlier imports of the source that left messages marked deleted


def write(run: Run, chunk: Chunk) -> None:
    """Store the chunk and the place behind it; locks, outages and a message that came twice cost another try."""
    careful = False
    for number in range(1, TRIES + 1):
        try:
            report = _write(run, chunk, careful=careful)
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
            run.report, run.position = report, chunk.place
            crash_point("after_import_chunk")
            return


def _write(run: Run, chunk: Chunk, *, careful: bool) -> Report:
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 0")
            if _written_before(cursor, run, chunk):
                return _report_of(cursor, run)
        plan = made(run, chunk, careful=careful)
        crash_point("before_import_copy")
        store(run, plan)
        rejects.keep(run.home.batch, plan.rejects, plan.talks)
        report = run.report.plus(plan.report)
        _move_on(run, chunk, report)
        crash_point("in_import_chunk")
    return report


def store(run: Run, plan: Plan) -> None:
    """The messages, what the import has brought by them, and the bursts that were open."""
    _copy(plan.lines)
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


def made(run: Run, chunk: Chunk, *, careful: bool = False, dry: bool = False) -> Plan:
    """Find, lock and open the conversations, and say of each message whether it is new."""
    plan = Plan()
    chats, said = _chats(chunk)
    plan.talks = talks.find(run.home, chats)
    missing = {key: chat for key, chat in chats.items() if key not in plan.talks}
    if dry:
        plan.talks |= {key: Talk(run.home.batch, run.home.batch, fresh=True) for key in missing}
        plan.report.opened = len(missing.keys() - run.seen)
        plan.report.conversations = len(chats.keys() - run.seen)
        run.seen |= chats.keys()
    else:
        plan.talks |= talks.open_new(run.home, missing, said)
        plan.report.opened = len(missing)
        talks.lock(plan.talks)
    for key, chat in missing.items():
        if plan.talks[key].closed and chat.live:
            plan.report.note("closed", f"chat {key}")
    stored = _stored(run, chunk, plan.talks, careful=careful)
    for item in chunk.items:
        if isinstance(item, Clean):
            _place(run, plan, item, stored)
        elif isinstance(item, Broken):
            _reject(plan, item)
    return plan


def _chats(chunk: Chunk) -> tuple[dict[str, Chat], dict[str, datetime]]:
    """Every chat of the chunk by its key, and when its first message was said."""
    chats: dict[str, Chat] = {}
    said: dict[str, datetime] = {}
    for item in chunk.items:
        chat = item if isinstance(item, Chat) else item.chat
        if chat is not None and chat.key not in chats:
            chats[chat.key] = chat
        if isinstance(item, Clean) and item.created is not None and item.chat.key not in said:
            said[item.chat.key] = item.created
    return chats, said


# What a message is compared by; the text itself need not come back.
STORED = """
SELECT m.conversation_id, m.external_id, m.role, encode(sha256(convert_to(m.content, 'UTF8')), 'hex'), m.import_id::text
FROM unnest(%s::uuid[], %s::text[]) AS asked (conversation_id, external_id)
JOIN messages m USING (conversation_id, external_id)
"""
Stored = dict[tuple[UUID, str], list[Any]]


def _stored(run: Run, chunk: Chunk, known: dict[str, Talk], *, careful: bool) -> Stored:
    """Which of the messages are here. Not asked of conversations that this import opened, unless an id came twice."""
    asked: list[tuple[UUID, str]] = []
    for item in chunk.items:
        if not isinstance(item, Clean):
            continue
        talk = known[item.chat.key]
        if talk.conversation and not talk.fresh and (careful or not talk.opened):
            asked += [(talk.conversation, name) for name in _names(run, item.identity)]
    if not asked:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(STORED, [list(column) for column in zip(*asked, strict=True)])
        return {(id_, name): rest for id_, name, *rest in cursor.fetchall()}


def _names(run: Run, identity: str) -> list[str]:
    """Under which ids it may be stored: its own, or after an undo that could only mark it deleted, another."""
    return [identity, *(fitting(encode(["again", batch, identity])) for batch in run.undone)]


def _place(run: Run, plan: Plan, message: Clean, stored: Stored) -> None:
    """New behind the last, known already, or another message under a known id."""
    talk, report = plan.talks[message.chat.key], plan.report
    report.read += 1
    if talk.conversation is None:
        report.known += 1
        report.note("erased")
        return
    before = talk.here.get(message.identity)
    if before is not None:
        _known(plan, message, (before.role, before.content) == (message.role, message.content), ours=True)
        return
    free = ""
    for name in _names(run, message.identity) if stored else ():
        found = stored.get((talk.conversation, name))
        if found is None:
            free = free or name
        elif found[2] not in run.undone:
            same = (found[0], found[1]) == (message.role, _hash(message.content))
            _known(plan, message, same, ours=found[2] == str(run.home.batch))
            return
    talk.here[message.identity] = message
    _append(plan, talk, message, free or message.identity, run.home)


def _known(plan: Plan, message: Clean, same: bool, *, ours: bool) -> None:
    """Stored before; or something else is, under its name."""
    if same:
        plan.report.known += 1
        return
    reason = RejectReason.DUPLICATE_ID if ours else RejectReason.CHANGED
    _reject(plan, Broken(reason, f"message {message.position}", f"id {message.identity}", message.record, message.chat))
    plan.report.read -= 1  # it was counted as a message already


def _append(plan: Plan, talk: Talk, message: Clean, name: str, home: Home) -> None:
    """The next of its conversation; without a time of its own it takes that of the message before."""
    created = message.created or talk.last or parse(message.chat.created, UTC) or home.began
    deleted = created if message.deleted is True else message.deleted or None
    waits = message.waiting and not talk.closed and not burst.is_blank(message.content)
    if message.waiting:
        plan.waiting.append(Waiting(talk, message, talk.index, created, waits))
    plan.lines.append(
        f"{talk.name}\t{talk.index}\t{message.role}\t{_escaped(message.content)}\t{_escaped(message.metadata)}"
        f"\t{_escaped(name)}\t{_escaped(message.author)}\t{waits}\t{home.name}\t{created}\t{deleted or NULL}\n"
    )
    talk.take(digest(talk.index, message.role, message.content, created, deleted), created)
    plan.report.said(message.role, created)
    for note in (*message.notes, "waiting") if message.waiting else message.notes:
        plan.report.note(note, f"chat {message.chat.key} message {message.position}")


def _reject(plan: Plan, broken: Broken) -> None:
    """Kept with its reason; of a conversation that was erased here nothing is kept."""
    plan.report.read += 1
    if broken.chat is not None and plan.talks[broken.chat.key].conversation is None:
        plan.report.known += 1
        plan.report.note("erased")
        return
    plan.rejects.append(broken)
    plan.report.rejected += 1
    chat = f"chat {broken.chat.key} " if broken.chat else ""
    plan.report.note(broken.reason, f"{chat}{broken.place}: {broken.detail}")


def _hash(content: str) -> str:
    return sha256(content.encode()).hexdigest()


def _copy(lines: list[str]) -> None:
    """Made by hand above: through the driver's adapters a row takes three times as long."""
    if not lines:
        return
    connection.ensure_connection()
    with connection.wrap_database_errors, connection.connection.cursor() as cursor, cursor.copy(COPY) as copy:
        for start in range(0, len(lines), LINES):
            copy.write("".join(lines[start : start + LINES]).encode())


def _escaped(text: str) -> str:
    return text.translate(ESCAPED) if TO_ESCAPE.search(text) else text


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


CLAIMED = "SELECT generation, position FROM imports WHERE id = %s FOR UPDATE"
MOVE_ON = """
UPDATE imports SET position = %(position)s, read = %(read)s, brought = %(brought)s, known = %(known)s,
    rejected = %(rejected)s, report = %(report)s, updated_at = clock_timestamp() WHERE id = %(id)s
"""


def _written_before(cursor: Any, run: Run, chunk: Chunk) -> bool:
    """Was the chunk committed and the answer lost? Whoever started the import after us goes on alone."""
    cursor.execute(CLAIMED, [run.home.batch])
    generation, position = cursor.fetchone()
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
