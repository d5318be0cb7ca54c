"""Updates of Telegram become our verbs, each once: the claim of its number is in the transaction of what it does."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import UUID

import structlog
from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction

from agents import audit
from agents.models import Status
from config.crash import crash_point
from conversations import buffering, commands, corrections, sessions, tally
from conversations.channels.telegram import NAME, reading
from conversations.channels.telegram.reading import DELETIONS, EDITS, MESSAGES, Move, Nothing, Post, UnreadableError
from conversations.errors import BlankMessageError, ConversationClosedError
from conversations.log import ExternalIdTakenError
from conversations.models import Conversation, Message
from conversations.replaying import Heard

logger = structlog.get_logger(__name__)

PLAIN = ("message", "edit")  # what is not counted beside the rows it leaves

CLAIM = """
INSERT INTO channel_updates (bot_id, update_id, content_hash, kind, outcome, chat_id, message_id)
VALUES (%s, %s, %s, %s, 'message', %s, %s) ON CONFLICT (bot_id, update_id) DO NOTHING
"""
FIRST = "SELECT content_hash = %s FROM channel_updates WHERE bot_id = %s AND update_id = %s"
OUTCOME = "UPDATE channel_updates SET outcome = %s WHERE bot_id = %s AND update_id = %s"
KEEP = "UPDATE channel_updates SET payload = %s WHERE bot_id = %s AND update_id = %s"
NEWER_EDIT = """
SELECT EXISTS (SELECT FROM channel_updates WHERE bot_id = %s AND chat_id = %s AND message_id = %s
    AND update_id > %s AND kind LIKE 'edited%%' AND payload IS NULL)
"""
REMEMBER = """
UPDATE conversations SET metadata = metadata || jsonb_build_object('telegram', %(where)s::jsonb)
WHERE id = %(id)s AND metadata -> 'telegram' IS DISTINCT FROM %(where)s::jsonb
"""


@dataclass(frozen=True)
class Incoming:
    """An update as it came, and whose it is."""

    raw: Mapping[str, Any]
    bot_id: int
    number: int
    kind: str
    agent_id: UUID | None  # of conversations that begin with it

    @cached_property
    def digest(self) -> bytes:
        return hashlib.sha256(json.dumps(self.raw, sort_keys=True).encode()).digest()


def take(raw: Mapping[str, Any], *, bot_id: int, agent_id: UUID | None = None) -> str:
    """Do what the update asks for, once; returns what it came to. Raises only where the database does not answer."""
    update = Incoming(raw, bot_id, *reading.identity(raw), agent_id)
    try:
        with transaction.atomic():
            if not _claim(update):
                return _again(update)
            outcome = _act(update)
            if outcome not in PLAIN:
                _count(outcome)
                _tell(OUTCOME, update, outcome[:30])
            crash_point("before_accept")
        crash_point("after_accept")
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:  # a bug of ours, or an update as none was before: it must not hold up the others
        tally.refused(error)
        outcome = _broken(update, error)
    logger.info("update taken", update=update.number, kind=update.kind, outcome=outcome)
    return outcome


def heard(raw: Mapping[str, Any]) -> Post | None:
    """What a person said, where that is what the update is about; asks no database."""
    _number, kind = reading.identity(raw)
    if kind not in MESSAGES:
        return None
    post = reading.read(raw, kind)
    return post if isinstance(post, Post) else None


def without_database(raw: Mapping[str, Any]) -> Heard | None:
    """The same in the words of `outage`, with where in the chat an answer belongs."""
    post = heard(raw)
    if post is None:
        return None
    where = {NAME: dict(post.where)}
    return Heard(post.user_id, post.chat_id, post.external_id, post.content, dict(post.metadata), where)


def place(raw: Mapping[str, Any], *, bot_id: int, agent_id: UUID | None = None) -> UUID:
    """Claim what was answered in an outage, and find its conversation; in the caller's transaction."""
    update = Incoming(raw, bot_id, *reading.identity(raw), agent_id)
    post = heard(raw)
    if post is None:
        raise UnreadableError("Nobody said anything in it.")
    _claim(update)
    conversation = _conversation(post, agent_id)
    _remember(conversation, post)
    return conversation.pk


def _act(update: Incoming) -> str:
    if update.kind == DELETIONS:
        return _delete(update.raw)
    if update.kind not in MESSAGES + EDITS:
        return f"ignored_{update.kind}"
    match reading.read(update.raw, update.kind):
        case Nothing(why):
            return why
        case Move(old, new):
            return "moved" if sessions.move_chat(NAME, old, new) else "moved_before"
        case Post() as post:
            try:
                return _edit(post, update) if update.kind in EDITS else _message(post, update.agent_id)
            except BlankMessageError as refusal:
                tally.refused(refusal)
                return "blank"
    raise AssertionError(update.kind)


def _message(post: Post, agent_id: UUID | None) -> str:
    try:
        return _receive(_conversation(post, agent_id), post)
    except ConversationClosedError:  # closed between our look and our write: the next one is open
        return _receive(_conversation(post, agent_id), post)
    except ExternalIdTakenError:  # an edit of it was here first
        return "message_before"


def _receive(conversation: Conversation, post: Post) -> str:
    with transaction.atomic():
        _remember(conversation, post)
        received = buffering.receive(
            conversation.pk, post.content, external_id=post.external_id, metadata=post.metadata
        )
        if received.command is None:
            return "message" if not received.entry.repeated else "message_before"
        commands.carry_out(conversation.pk, received.command, by=f"{NAME}:{post.user_id}")
        return "command"


def _conversation(post: Post, agent_id: UUID | None) -> Conversation:
    chat_id = sessions.chat_now(NAME, post.chat_id) if post.chat_id < 0 else post.chat_id
    conversation, _ = sessions.open(
        post.user_id, chat_id=chat_id, channel=NAME, agent_id=agent_id, title=post.title, metadata=post.person
    )
    return conversation


def _remember(conversation: Conversation, post: Post) -> None:
    """Where in the chat the answer belongs: the topic, the business account, the message in a group."""
    if post.where or NAME in conversation.metadata:
        with connection.cursor() as cursor:
            cursor.execute(REMEMBER, {"id": conversation.pk, "where": json.dumps(dict(post.where))})


def _edit(post: Post, update: Incoming) -> str:
    """The newest edit stands; one whose message never came is the message itself."""
    found = _stored(post.chat_id, post.external_id, user_id=post.user_id)
    if found is None:
        return _message(post, update.agent_id)
    buffering.lock(found.conversation_id)
    with connection.cursor() as cursor:
        cursor.execute(NEWER_EDIT, [update.bot_id, post.chat_id, post.message_id, update.number])
        if cursor.fetchone()[0]:
            return "edit_came_late"
    corrected = Message.objects.filter(conversation_id=found.conversation_id, metadata__edits=str(found.pk))
    latest = corrected.order_by("-message_index").values_list("content", flat=True).first() or found.content
    if latest == post.content or "[location" in (post.content[:9], latest[:9]):
        return "edit_changes_nothing"  # a reaction, a preview, a live location that moves
    external_id = json.dumps([post.chat_id, post.message_id, update.number])
    corrections.correct(found.conversation_id, found.pk, post.content, external_id=external_id)
    return "edit"


def _delete(raw: Mapping[str, Any]) -> str:
    """Business accounts alone are told of deletions."""
    body = raw[DELETIONS]
    chat_id, ids = int(body["chat"]["id"]), [int(id_) for id_ in body["message_ids"]]
    gone = 0
    for id_ in ids:
        found = _stored(chat_id, json.dumps([chat_id, id_]))
        if found is not None:
            gone += corrections.retract(found.conversation_id, found.pk, by=f"{NAME}:{chat_id}")
    return "deleted" if gone else "deleted_nothing"


def _stored(chat_id: int, external_id: str, user_id: int | None = None) -> Message | None:
    """The message as it came first, in whichever conversation of the chat."""
    talks = Conversation.objects.filter(channel=NAME, chat_id=sessions.chat_now(NAME, chat_id))
    if user_id is not None:
        talks = talks.filter(user_id=user_id)
    found = Message.objects.filter(conversation__in=talks, external_id=external_id, role="user")
    return found.order_by("-created_at").first()


# --- once ---


def _claim(update: Incoming) -> bool:
    """Ours to do, or somebody else's: who comes second waits here until the first has committed."""
    where = reading.place(update.raw, update.kind)
    with connection.cursor() as cursor:
        cursor.execute(CLAIM, [update.bot_id, update.number, update.digest, update.kind, *where])
        return bool(cursor.rowcount)


def _again(update: Incoming) -> str:
    """It came before. The same again is nothing new; other content under its number is an alarm, and the first wins."""
    with connection.cursor() as cursor:
        cursor.execute(FIRST, [update.digest, update.bot_id, update.number])
        same = cursor.fetchone()[0]
    if same:
        _count("repeated")
        return "repeated"
    logger.error("update number used twice", update=update.number, bot=update.bot_id)
    told = {"bot": update.bot_id, "kind": update.kind}
    audit.record("channel.update_reused", NAME, ("update", update.number), told, status=Status.REFUSED)
    _count("reused")
    return "reused"


def _broken(update: Incoming, error: Exception) -> str:
    """Keep it whole for a release that can read it, and go on."""
    logger.exception("update broken", update=update.number, kind=update.kind, reason=type(error).__name__)
    try:
        kept = json.dumps(reading.storable(dict(update.raw))[0])
    except UnreadableError:
        kept = "{}"
    try:
        with transaction.atomic():
            if _claim(update):
                _tell(OUTCOME, update, "broken")
                _tell(KEEP, update, kept)
                _count("broken")
    except (OperationalError, InterfaceError):
        raise
    except DatabaseError:
        logger.exception("broken update not kept", update=update.number)
    return "broken"


def _tell(statement: str, update: Incoming, value: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, [value, update.bot_id, update.number])


def _count(outcome: str) -> None:
    tally.count(f"{NAME}_{outcome}"[:50])
