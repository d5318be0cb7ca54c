"""Where old conversations are, one file a kind. A new kind is a copied file and a line here."""

from __future__ import annotations

from conversations.legacy.sources.chat_sessions import ChatSessions
from conversations.legacy.sources.chatgpt import ChatGpt
from conversations.legacy.sources.conversations import Conversations
from conversations.legacy.sources.json_messages import JsonMessages
from conversations.legacy.sources.messages import Messages
from conversations.legacy.sources.parley import Parley
from conversations.legacy.sources.postgres import Postgres
from conversations.legacy.sources.source import Options, Source
from conversations.legacy.sources.telegram import Telegram

TABLES: dict[str, type[Postgres]] = {kind.kind: kind for kind in (ChatSessions, Conversations, Messages)}
FILES = {kind.kind: kind for kind in (Parley, Telegram, ChatGpt, JsonMessages)}

__all__ = ["FILES", "TABLES", "Options", "Source"]
