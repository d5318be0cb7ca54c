"""The account: its session on disk, and what Telegram tells it as plain values.

Whoever holds the session file is the account. It lies in a folder of its own, readable by its owner alone.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from django.conf import settings
from telethon import TelegramClient
from telethon.tl import types

from agents.text import storable
from conversations.channels import ChannelUnavailableError

SERVICE = frozenset({777000, 42777})  # Telegram itself: login codes and notices, which nobody may answer
ACTIVITIES = {
    types.SendMessageTypingAction: "typing",
    types.SendMessageChooseStickerAction: "typing",
    types.SendMessageGeoLocationAction: "typing",
    types.SendMessageChooseContactAction: "typing",
    types.SendMessageRecordAudioAction: "recording",
    types.SendMessageRecordVideoAction: "recording",
    types.SendMessageRecordRoundAction: "recording",
    types.SendMessageUploadPhotoAction: "uploading",
    types.SendMessageUploadVideoAction: "uploading",
    types.SendMessageUploadRoundAction: "uploading",
    types.SendMessageUploadAudioAction: "uploading",
    types.SendMessageUploadDocumentAction: "uploading",
    types.SendMessageCancelAction: "cancel",
}
MISSING = (
    "{name} is not set. A user account needs an application of your own: my.telegram.org, API development tools; "
    "then set TELEGRAM_API_ID and TELEGRAM_API_HASH."
)


def make_client(session: Any = None) -> TelegramClient:
    """A client that waits for nothing by itself: pauses and repeats are the outbox's business."""
    for name in ("TELEGRAM_API_ID", "TELEGRAM_API_HASH"):
        if not getattr(settings, name):
            raise ChannelUnavailableError(MISSING.format(name=name))
    return TelegramClient(
        session if session is not None else str(session_file()),
        settings.TELEGRAM_API_ID,
        settings.TELEGRAM_API_HASH,
        sequential_updates=True,
        catch_up=True,
        flood_sleep_threshold=0,
        request_retries=1,
        raise_last_call_error=True,
        device_model="Parley",
    )


def session_file() -> Path:
    """Made before Telethon opens it, so that nobody else could read it for even a moment."""
    folder = Path(settings.DATA_DIR) / "mtproto"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    path = folder / f"{settings.TELEGRAM_API_ID}.session"
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    path.chmod(0o600)
    return path


# --- what Telegram tells, as plain values that survive JSON ---


def said(message: Any, sender: Any) -> dict[str, Any] | None:
    """A message of a person in a private chat; None for everything else, which an account sees, too, and must not
    answer: groups, channels, bots, Telegram's own notices, what it wrote itself."""
    if not isinstance(message, types.Message) or message.out or not isinstance(message.peer_id, types.PeerUser):
        return None
    user_id = message.peer_id.user_id
    if user_id in SERVICE or getattr(sender, "bot", False) or getattr(sender, "support", False):
        return None
    text = "\n".join(filter(None, [_placeholder(message), message.message]))
    return {
        "kind": "edit" if message.edit_date and not message.edit_hide else "message",
        "user_id": user_id,
        "id": message.id,
        "text": storable(text),
        "at": message.date.timestamp() if message.date else 0,
        "edited_at": message.edit_date.timestamp() if message.edit_date else 0,
        "album": str(message.grouped_id) if message.grouped_id else "",
        "forwarded": message.fwd_from is not None,
        "reply_to": getattr(message.reply_to, "reply_to_msg_id", None),
        "access_hash": str(getattr(sender, "access_hash", None) or ""),
        "name": storable(" ".join(filter(None, [_named(sender, "first_name"), _named(sender, "last_name")]))),
    }


def activity(update: Any) -> tuple[int, str] | None:
    """Who does what in a private chat: typing, recording, uploading, or no more of it."""
    if not isinstance(update, types.UpdateUserTyping):
        return None
    word = ACTIVITIES.get(type(update.action))
    return (update.user_id, word) if word else None


def deleted(update: Any) -> dict[str, Any] | None:
    """Messages that were taken back; Telegram names no chat for private ones, and numbers them all in one line."""
    return (
        {"kind": "deletion", "ids": list(update.messages)} if isinstance(update, types.UpdateDeleteMessages) else None
    )


def _placeholder(message: Any) -> str:
    media = message.media
    if media is None or isinstance(media, (types.MessageMediaEmpty, types.MessageMediaWebPage)):
        return ""
    name = type(media).__name__.removeprefix("MessageMedia").lower()
    if isinstance(media, types.MessageMediaDocument):
        name = next((word for word in ("voice", "round", "video") if getattr(media, word, False)), "document")
    return f"[{'video note' if name == 'round' else 'voice message' if name == 'voice' else name}]"


def _named(sender: Any, name: str) -> str:
    return getattr(sender, name, None) or ""
