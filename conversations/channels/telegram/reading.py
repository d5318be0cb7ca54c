"""What an update says, read without a database: who wrote what, and nothing in it that cannot be stored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from telegram import Audio, Contact, Dice, Document, Location, Message, Poll, Sticker, Update, Venue, Video, Voice

MESSAGES = ("message", "channel_post", "business_message")
EDITS = ("edited_message", "edited_channel_post", "edited_business_message")
DELETIONS = "deleted_business_messages"
BIGGEST = 2**63
DEEPEST = 60  # levels of lists and objects; Telegram's own are about ten
LONGEST_TEXT = 32_000  # characters; Telegram's own are 4,096
SHOWN_NAME = 100  # characters of a file's name in a placeholder
CANNOT_BE_KEPT = {0: "\ufffd", **dict.fromkeys(range(0xD800, 0xE000), "\ufffd")}
INVISIBLE = dict.fromkeys((*range(8234, 8239), *range(8294, 8298), *range(8206, 8208)))


KINDS = (
    "photo", "animation", "document", "audio", "video_note", "video", "voice", "sticker", "paid_media", "game",
    "invoice", "successful_payment", "passport_data", "checklist",
)  # fmt: skip


class UnreadableError(Exception):
    """This is no update."""


@dataclass(frozen=True, slots=True)
class Post:
    """One message of a person: where, who, what, and what else is known of it."""

    chat_id: int
    user_id: int
    message_id: int
    content: str
    title: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    person: Mapping[str, Any] = field(default_factory=dict)  # what a conversation keeps of who writes
    where: Mapping[str, Any] = field(default_factory=dict)  # what an answer needs beside the chat

    @property
    def external_id(self) -> str:
        return json.dumps([self.chat_id, self.message_id])


@dataclass(frozen=True, slots=True)
class Move:
    """A group became a supergroup and has another id."""

    old_chat_id: int
    new_chat_id: int


@dataclass(frozen=True, slots=True)
class Nothing:
    """Nothing anybody said to the agent; `why` is what it is counted as."""

    why: str


def identity(raw: Mapping[str, Any]) -> tuple[int, str]:
    """The update's number and kind."""
    number = raw.get("update_id") if isinstance(raw, dict) else None
    if not isinstance(number, int) or isinstance(number, bool) or not -BIGGEST <= number < BIGGEST:
        raise UnreadableError("It has no update_id.")
    return number, next((str(name)[:50] for name in raw if name != "update_id"), "empty")


def place(raw: Mapping[str, Any], kind: str) -> tuple[int | None, int | None]:
    """Chat and message it is about, as far as it names them."""
    body = raw.get(kind)
    chat = body.get("chat") if isinstance(body, dict) else None
    return _number(chat, "id"), _number(body, "message_id")


def storable(value: Any, depth: int = 0) -> tuple[Any, int]:
    """The same without what PostgreSQL cannot hold, and how many characters that were."""
    if depth > DEEPEST:
        raise UnreadableError("It is nested too deep.")
    if isinstance(value, str):
        clean = value.translate(CANNOT_BE_KEPT)
        return clean, sum(1 for old, new in zip(value, clean, strict=True) if old != new)
    if isinstance(value, dict):
        pairs = {storable(key)[0]: storable(inner, depth + 1) for key, inner in value.items()}
        return {key: inner for key, (inner, _) in pairs.items()}, sum(count for _, count in pairs.values())
    if isinstance(value, list):
        items = [storable(inner, depth + 1) for inner in value]
        return [inner for inner, _ in items], sum(count for _, count in items)
    return value, 0


def read(raw: Mapping[str, Any], kind: str) -> Post | Move | Nothing:
    """The message or edit in an update."""
    clean, replaced = storable(dict(raw))
    update = Update.de_json(clean, None)
    message: Message | None = getattr(update, kind, None)
    if message is None:
        return Nothing("empty")
    if message.migrate_to_chat_id:
        return Move(message.chat.id, message.migrate_to_chat_id)
    if message.migrate_from_chat_id:
        return Move(message.migrate_from_chat_id, message.chat.id)
    if why := _not_said_by_a_person(message, kind):
        return Nothing(why)
    content = content_of(message)
    if content is None:
        return Nothing("service")
    sender = message.sender_chat or message.from_user or message.chat
    metadata = metadata_of(message, kind)
    if replaced:
        metadata["replaced_characters"] = replaced
    if len(content) > LONGEST_TEXT:
        metadata["cut_characters"] = len(content) - LONGEST_TEXT
        content = f"{content[:LONGEST_TEXT]}\n[cut: {len(content) - LONGEST_TEXT} characters]"
    return Post(
        message.chat.id, sender.id, message.message_id, content, _title(message), metadata, _person(message),
        _where(message),
    )  # fmt: skip


def _not_said_by_a_person(message: Message, kind: str) -> str:
    author = message.from_user
    if message.is_automatic_forward:
        return "forwarded_by_telegram"
    if author is not None and author.is_bot and message.sender_chat is None:
        return "from_a_bot"
    if kind.endswith("business_message") and author is not None and author.id != message.chat.id:
        return "from_the_account_itself"  # in a business chat the chat is the customer
    return ""


def content_of(message: Message) -> str | None:
    """The text; for media a placeholder and the caption; None where nobody said anything."""
    if message.text is not None:
        return message.text
    shown = _placeholder(message)
    if shown is None:
        return message.caption
    return f"{shown}\n{message.caption}" if message.caption else shown


def _placeholder(message: Message) -> str | None:  # noqa: PLR0911  one line per kind
    match message.effective_attachment:
        case None:
            return "[story]" if message.story else None
        case Sticker(emoji=emoji):
            return f"[sticker {emoji}]" if emoji else "[sticker]"
        case Dice(emoji=emoji, value=value):
            return f"[dice {emoji} {value}]"
        case Voice():
            return "[voice message]"
        case Venue(title=title):
            return f"[venue: {_name(title)}]"
        case Location(latitude=latitude, longitude=longitude):
            return f"[location {latitude:.5f}, {longitude:.5f}]"
        case Contact(first_name=name, phone_number=phone):
            return f"[contact: {_name(name)} {_name(phone)}]"
        case Poll(question=question):
            return f"[poll: {_name(question)}]"
        case Document(file_name=name) | Audio(file_name=name) | Video(file_name=name) if name:
            return f"[{_kind(message)}: {_name(name)}]"
    return f"[{_kind(message)}]"


def metadata_of(message: Message, kind: str) -> dict[str, Any]:
    """What else is known: ids, media, where it was forwarded from; never a file itself."""
    found: dict[str, Any] = {"telegram": {"message_id": message.message_id, "date": int(message.date.timestamp())}}
    if message.media_group_id:
        found["media_group_id"] = message.media_group_id
    if message.forward_origin:
        found["forwarded"] = str(message.forward_origin.type)
    if message.reply_to_message:
        found["reply_to"] = json.dumps([message.chat.id, message.reply_to_message.message_id])
    if message.quote:
        found["quote"] = message.quote.text
    if kind in EDITS:
        found["edited"] = True
    if media := _media(message):
        found["media"] = media
    return found


def _media(message: Message) -> dict[str, Any] | None:
    attachment = message.effective_attachment
    if isinstance(attachment, tuple | list):
        attachment = attachment[-1] if attachment else None  # of a photo's sizes the largest
    if attachment is None or not getattr(attachment, "file_id", None):
        return None
    names = ("file_id", "file_unique_id", "file_size", "mime_type", "file_name", "width", "height")
    known = {name: value for name in names if (value := getattr(attachment, name, None)) is not None}
    duration = getattr(attachment, "_duration", None)
    return {"kind": _kind(message), **known, **({"seconds": int(duration.total_seconds())} if duration else {})}


def _kind(message: Message) -> str:
    return next((kind.replace("_", " ") for kind in KINDS if getattr(message, kind, None)), "attachment")


def _where(message: Message) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if message.is_topic_message and message.message_thread_id:
        found["thread_id"] = message.message_thread_id
    if message.business_connection_id:
        found["business_connection_id"] = message.business_connection_id
    if message.chat.type in ("group", "supergroup"):
        found["reply_to"] = message.message_id
    return found


def _person(message: Message) -> dict[str, Any]:
    author = message.from_user
    if author is None:
        return {}
    return {"username": author.username, "language": author.language_code} if author.username else {}


def _title(message: Message) -> str:
    sender = message.sender_chat or message.from_user
    name = getattr(sender, "full_name", None) or getattr(sender, "title", None) or ""
    chat = message.chat.title or ""
    return _name(" · ".join(dict.fromkeys(part for part in (name, chat) if part)), 200)


def _name(text: str, most: int = SHOWN_NAME) -> str:
    """Somebody's words in one short line, without characters that turn a line around."""
    return " ".join(text.translate(INVISIBLE).split())[:most]


def _number(holder: object, name: str) -> int | None:
    value = holder.get(name) if isinstance(holder, dict) else None
    whole = isinstance(value, int) and not isinstance(value, bool) and -BIGGEST <= value < BIGGEST
    return value if whole else None
