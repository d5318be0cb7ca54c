"""Which kind of source is it? By its tables, or by how the file begins."""

from __future__ import annotations

import re
from pathlib import Path

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from conversations.legacy.errors import OptionError, SourceUnreachableError, UnknownFormatError
from conversations.legacy.json_stream import loads
from conversations.legacy.sources import FILES, TABLES, Options, Source
from conversations.legacy.sources.files import opened
from conversations.legacy.sources.postgres import columns, connect

DSN = re.compile(r"postgres(ql)?://|(\w+=\S++\s*+)++$", re.ASCII)
HEAD = 256 * 1024  # characters of a file that are looked at
KINDS = (*TABLES, *FILES)


def source_of(where: str, kind: str | None, options: Options) -> Source:
    """The source, opened once to see that it is there."""
    if kind is not None and kind not in KINDS:
        raise UnknownFormatError(f"There is no format {kind}; there are {', '.join(KINDS)}.")
    if DSN.match(where) and not Path(where).exists():
        if kind in FILES:
            raise OptionError(f"{kind} is a format of files; a database has {', '.join(TABLES)}.")
        _valid(where)
        return TABLES[kind or _kind_of_database(where, options)](where, options)
    if kind in TABLES:
        raise OptionError(f"{kind} is a format of a database, which is named like postgresql://user@host/name.")
    path = Path(where)
    if not path.is_file():
        raise SourceUnreachableError(f"There is no file {where}; a database is named like postgresql://user@host/name.")
    return FILES[kind or _kind_of_file(path)](path, options)


def _valid(dsn: str) -> None:
    try:
        conninfo_to_dict(dsn)
    except ProgrammingError as error:  # its text may repeat the password
        raise OptionError(
            "The address of the database cannot be read: postgresql://user:password@host/name."
        ) from error


def _kind_of_database(dsn: str, options: Options) -> str:
    """A table named on the command line is known by its columns; else the first table of the usual names."""
    with connect(dsn) as db:
        if options.table:
            names = columns(db, options.table)
            if not names:
                raise OptionError(f"There is no table {options.table} in the source.")
            return (
                "messages"
                if "role" in names or "content" in names
                else ("conversations" if {"chat_id", "metadata"} <= set(names) else "chat_sessions")
            )
        for kind, needed in (("chat_sessions", "messages"), ("conversations", "messages"), ("messages", "content")):
            if needed in columns(db, kind):
                return kind
    raise UnknownFormatError(
        "The database has no table chat_sessions, conversations or messages with messages in it; name one with --table."
    )


def _kind_of_file(path: Path) -> str:
    """The formats that say what they are, then JSON as such."""
    with opened(path) as file:
        head = file.read(HEAD).lstrip()
    first = head.split("\n", 1)[0]
    try:
        line = loads(first)
    except ValueError:
        line = None
    if isinstance(line, dict) and line.get("type") == "conversation" and "message_count" in line:
        return "parley"
    if head.startswith("{") and _looks_like_telegram(head):
        return "telegram"
    if head.startswith("[") and re.search(r'"mapping"\s*:\s*\{', head):
        return "chatgpt"
    if head[:1] in {"[", "{"}:
        return "json"
    raise UnknownFormatError(f"{path.name} begins neither with [ nor with {{; it is no JSON.")


def _looks_like_telegram(head: str) -> bool:
    if re.search(r'"chats"\s*:\s*\{', head) and '"list"' in head:
        return True
    kinds = r'"type"\s*:\s*"(personal_chat|bot_chat|saved_messages|\w*_(group|supergroup|channel))"'
    return re.search(kinds, head) is not None and re.search(r'"messages"\s*:\s*\[', head) is not None
