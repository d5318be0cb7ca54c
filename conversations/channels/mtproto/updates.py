"""What the account hears, as our verbs. A message is marked read only after it is stored: unread is not yet ours."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from conversations import buffering, commands, corrections, sessions
from conversations.buffering import receive
from conversations.burst import is_blank
from conversations.channels import Order
from conversations.channels.mtproto import NAME
from conversations.errors import ConversationError
from conversations.models import Conversation, Message
from conversations.outage import Heard
from conversations.tally import counts_refusals

Update = dict[str, Any]


def take(order: Order, update: Update) -> None:
    """Do what the update asks for; a second time changes nothing."""
    match update["kind"]:
        case "message":
            _message(order, update)
        case "edit":
            _edit(update)
        case "deletion":
            _deletion(update)


def heard(update: Update) -> Heard | None:
    """What a person said, for a time without a database."""
    if update["kind"] != "message":
        return None
    where = {NAME: {"access_hash": update["access_hash"]}}
    return Heard(update["user_id"], update["user_id"], external_id(update), update["text"], _metadata(update), where)


def key(update: Update) -> str:
    """One name for one update."""
    if update["kind"] == "deletion":
        return json.dumps(["deletion", *update["ids"]])
    return json.dumps([update["kind"], update["user_id"], update["id"], update["edited_at"]])


def external_id(update: Update) -> str:
    return json.dumps([update["user_id"], update["id"]])


def active(user_id: int, activity: str) -> None:
    """The person is at it: the open burst waits on. Cheap where nobody talks with us."""
    found = _live(user_id)
    if found is not None:
        buffering.typing(found, activity)


def place(order: Order, update: Update) -> UUID:
    """The conversation with who said it."""
    peer = {"access_hash": update["access_hash"]}
    conversation, _created = sessions.open(
        update["user_id"],
        chat_id=update["user_id"],
        channel=NAME,
        agent_id=order.agent_id,
        title=update["name"][:200],
        metadata={NAME: peer},
    )
    if peer["access_hash"] and conversation.metadata.get(NAME) != peer:  # the account reaches nobody without it
        Conversation.objects.filter(pk=conversation.pk).update(metadata={**conversation.metadata, NAME: peer})
    return conversation.pk


@counts_refusals
def _message(order: Order, update: Update) -> None:
    if is_blank(update["text"]):
        return
    conversation_id = place(order, update)
    with transaction.atomic():
        received = receive(conversation_id, update["text"], external_id=external_id(update), metadata=_metadata(update))
        if received.command is not None:
            commands.carry_out(conversation_id, received.command, by=NAME)


def _edit(update: Update) -> None:
    found = _stored(external_id(update))
    if found is None or is_blank(update["text"]):
        return
    again = json.dumps([update["user_id"], update["id"], update["edited_at"]])
    corrections.correct(found.conversation_id, found.id, update["text"], external_id=again)


def _deletion(update: Update) -> None:
    ids = list(
        Message.objects.filter(
            conversation__channel=NAME,
            role="user",
            metadata__mtproto__id__in=update["ids"],
            deleted_at__isnull=True,
        ).values_list("conversation_id", "pk")
    )
    for conversation_id, message_id in ids:
        try:
            corrections.retract(conversation_id, message_id, by=NAME)
        except ConversationError:
            continue


def _metadata(update: Update) -> dict[str, Any]:
    found: dict[str, Any] = {NAME: {"id": update["id"], "at": update["at"]}}
    if update["album"]:
        found["media_group_id"] = update["album"]
    if update["forwarded"]:
        found["forwarded"] = True
    if update["reply_to"]:
        found["reply_to"] = json.dumps([update["user_id"], update["reply_to"]])
    return found


def _stored(external: str) -> Message | None:
    found: Message | None = Message.objects.filter(conversation__channel=NAME, external_id=external).first()
    return found


def _live(user_id: int) -> UUID | None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM conversations WHERE channel = %s AND chat_id = %s AND user_id = %s AND mode <> 'closed'",
            [NAME, user_id, user_id],
        )
        row = cursor.fetchone()
    return UUID(str(row[0])) if row else None
