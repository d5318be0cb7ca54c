"""Where each message of a chunk goes: behind the last of its conversation, to the known ones, or to the rejects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from django.db import connection

from conversations import burst
from conversations.legacy import talks
from conversations.legacy.chunks import Chunk
from conversations.legacy.cleaning import encode, fitting
from conversations.legacy.digest import digest
from conversations.legacy.moments import microseconds, parse
from conversations.legacy.records import Broken, Clean, Place
from conversations.legacy.report import Report
from conversations.legacy.rows import row, start
from conversations.legacy.talks import Home, Talk
from conversations.legacy.waiting import Waiting
from conversations.models import RejectReason

Stored = dict[tuple[str, str], list[Any]]


@dataclass
class Plan:
    """The conversations of a chunk, and what becomes of its messages: complete when every line was taken."""

    talks: dict[str, Talk]
    stored: Stored
    waiting: list[Waiting] = field(default_factory=list)
    rejects: list[Broken] = field(default_factory=list)
    report: Report = field(default_factory=Report)


@dataclass
class Run:
    """An import that this process is at: how far it is changes with every chunk that is committed."""

    home: Home
    generation: int
    report: Report
    position: Place | None = None
    settled: datetime | None = None  # when the chunk before the last one was written
    seen: set[str] = field(default_factory=set)  # chats counted: of the chunk before, of all where nothing is written
    undone: list[str] = field(default_factory=list)  # earlier imports of the source that left messages marked deleted


def prepared(run: Run, chunk: Chunk, *, careful: bool = False, dry: bool = False) -> Plan:
    """Find, lock and open the conversations, and see which of the messages are here."""
    chats = chunk.chats
    known = talks.find(run.home, chats)
    missing = {key: chat for key, chat in chats.items() if key not in known}
    plan = Plan(known, {})
    plan.report.opened = len(missing)
    if dry:
        plan.talks |= {key: Talk(run.home.batch, run.home.batch, fresh=True) for key in missing}
        plan.report.opened = len(missing.keys() - run.seen)
    else:
        plan.talks |= talks.open_new(run.home, missing, _said(chunk) if missing else {})
        talks.lock(plan.talks)
    for talk in plan.talks.values():
        if talk.conversation:
            talk.start = start(talk.conversation, run.home.batch)
    for key, chat in missing.items():
        if plan.talks[key].closed and chat.live:
            plan.report.note("closed", f"chat {key}")
    plan.stored = _stored(run, chunk, plan.talks, careful=careful)
    return plan


def rows(run: Run, plan: Plan, chunk: Chunk) -> Iterator[bytes]:
    """The new messages as COPY takes them, one by one, so that the database has work while the next is made."""
    for item in chunk.items:
        if isinstance(item, Clean):
            made = _place(run, plan, item)
            if made is not None:
                yield made
        elif isinstance(item, Broken):
            _reject(plan, item)


def _said(chunk: Chunk) -> dict[str, datetime]:
    """When the first message of every chat was said."""
    said: dict[str, datetime] = {}
    for item in chunk.items:
        if isinstance(item, Clean) and item.created is not None and item.chat.key not in said:
            said[item.chat.key] = item.created
    return said


# What a message is compared by; the text itself need not come back.
STORED = """
SELECT m.conversation_id::text, m.external_id, m.role, encode(sha256(convert_to(m.content, 'UTF8')), 'hex'),
    m.import_id::text
FROM jsonb_to_recordset(%s::jsonb) AS asked (conversation_id uuid, external_id text)
JOIN messages m USING (conversation_id, external_id)
"""


def _stored(run: Run, chunk: Chunk, known: dict[str, Talk], *, careful: bool) -> Stored:
    """Which of the messages are here. Not asked of conversations that this import opened, unless an id came twice."""
    asked = {
        key: str(talk.conversation)
        for key, talk in known.items()
        if talk.conversation and not talk.fresh and (careful or not talk.opened)
    }
    names = [
        {"conversation_id": asked[item.chat.key], "external_id": name}
        for item in (chunk.items if asked else ())
        if isinstance(item, Clean) and item.chat.key in asked
        for name in _names(run, item.identity)
    ]
    if not names:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(STORED, [encode(names)])
        return {(id_, name): rest for id_, name, *rest in cursor.fetchall()}


def _names(run: Run, identity: str) -> list[str]:
    """Under which ids it may be stored: its own, or after an undo that could only mark it deleted, another."""
    return [identity, *(fitting(encode(["again", batch, identity])) for batch in run.undone)]


def _place(run: Run, plan: Plan, message: Clean) -> bytes | None:
    """New behind the last, known already, or another message under a known id."""
    talk, report = plan.talks[message.chat.key], plan.report
    report.read += 1
    if talk.conversation is None:
        report.known += 1
        report.note("erased")
        return None
    before = talk.here.get(message.identity)
    if before is not None:
        _known(plan, message, (before.role, before.content) == (message.role, message.content), ours=True)
        return None
    free = ""
    for name in _names(run, message.identity) if plan.stored else ():
        found = plan.stored.get((str(talk.conversation), name))
        if found is None:
            free = free or name
        elif found[2] not in run.undone:
            same = (found[0], found[1]) == (message.role, _hash(message.content))
            _known(plan, message, same, ours=found[2] == run.home.name)
            return None
    talk.here[message.identity] = message
    return _append(plan, talk, message, free or message.identity, run.home)


def _known(plan: Plan, message: Clean, same: bool, *, ours: bool) -> None:
    """Stored before; or something else is, under its name."""
    if same:
        plan.report.known += 1
        return
    reason = RejectReason.DUPLICATE_ID if ours else RejectReason.CHANGED
    _reject(plan, Broken(reason, f"message {message.position}", f"id {message.identity}", message.record, message.chat))
    plan.report.read -= 1  # it was counted as a message already


def _append(plan: Plan, talk: Talk, message: Clean, name: str, home: Home) -> bytes:
    """The next of its conversation; without a time of its own it takes that of the message before."""
    created = message.created or talk.last or parse(message.chat.created, UTC) or home.began
    deleted = created if message.deleted is True else message.deleted or None
    index, content, waits = talk.index, message.content, False
    if message.waiting:
        waits = not talk.closed and not burst.is_blank(content)
        plan.waiting.append(Waiting(talk, message, index, created, waits))
    said, when = content.encode(), microseconds(created)
    gone = None if deleted is None else microseconds(deleted)
    talk.take(digest(index, message.role, said, when, gone), created)
    plan.report.said(message.role, created)
    for note in (*message.notes, "waiting") if message.waiting else message.notes:
        plan.report.note(note, f"chat {message.chat.key} message {message.position}")
    return row(talk.start, index, message.role, said, message.metadata, name, message.author, waits, when, gone)


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
