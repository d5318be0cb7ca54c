"""From what a source has to what the log takes. Nothing is dropped: it is stored, repaired with a note, or rejected."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from hashlib import sha256
from math import isfinite
from typing import Any

from config.columns import deeper_than
from conversations.legacy.moments import parse
from conversations.legacy.records import Broken, Clean, Record
from conversations.models import RejectReason, Role
from conversations.models.message import EXTERNAL_ID_LENGTH

# What PostgreSQL cannot hold in a text: NUL, and halves of a surrogate pair.
UNSTORABLE = re.compile("[\0\ud800-\udfff]")
INSTEAD = "\N{REPLACEMENT CHARACTER}"
LONGEST = 1024 * 1024  # characters, unless --longest says more: what the API takes, and a page can show
MOST = 256 * 1024 * 1024  # of --longest; a text of PostgreSQL ends at 1 GB
DEEPEST = 32  # levels of metadata, as in the API
ORIGINAL_KEPT = 10_000  # characters of a repaired text that are kept as they were, in the metadata
LONGEST_AUTHOR = 150
ROLES: Mapping[str, str] = {
    **{role: role for role in Role.values},
    **dict.fromkeys(("human", "person", "client", "customer", "interviewee", "respondent"), Role.USER.value),
    **dict.fromkeys(("ai", "bot", "model", "agent", "gpt", "chatbot", "interviewer"), Role.ASSISTANT.value),
    **dict.fromkeys(("developer", "instruction", "service"), Role.SYSTEM.value),
    **dict.fromkeys(("function", "tool_result", "tool_call"), Role.TOOL.value),
}
FLAGS = (True, False)  # and 1 and 0
NO = ("", "0", "f", "false", "no", "null", "none")
WITHOUT_TEXT = ("tool_calls", "function_call", "refusal", "parts", "media")  # what explains an absent text

encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=str).encode


@dataclass(frozen=True)
class Rules:
    """How this source is to be read; the options of the command."""

    roles: Mapping[str, str] = field(default_factory=lambda: ROLES)
    zone: tzinfo = UTC
    open_buffers: bool = True
    longest: int = LONGEST

    @classmethod
    def made(
        cls, roles: Mapping[str, str], zone: tzinfo, *, open_buffers: bool = True, longest: int | None = None
    ) -> Rules:
        named = {name.lower(): role for name, role in roles.items()}
        return cls({**ROLES, **named}, zone, open_buffers, longest or LONGEST)


def clean(record: Record, rules: Rules) -> Clean | Broken:
    """The message as it can be stored, or the reason why it cannot."""
    named = record.role
    role = rules.roles.get(named) if isinstance(named, str) else None
    if role is None:
        name = named if isinstance(named, str) else escaped(named) if isinstance(named, bool | int) else ""
        role = rules.roles.get(name.strip().lower())
        if role is None:
            return refused(record, RejectReason.ROLE, f"role {_short(named)}")
    content, metadata = record.content, record.metadata
    notes: list[str] = []
    if not isinstance(content, str):
        content, metadata = _text_of(content, metadata)
        if content is None:
            return refused(record, RejectReason.CONTENT, f"content {_short(record.content)}")
    if len(content) > rules.longest:
        return refused(record, RejectReason.TOO_LARGE, f"{len(content)} characters: --longest {len(content)}")
    told: dict[str, Any] = {}
    if metadata and deeper_than(DEEPEST, metadata):
        notes.append("deep")
        metadata, told = _flattened(metadata)
    if not fits(content):
        told |= _repaired(content, notes)
        content = UNSTORABLE.sub(INSTEAD, content)
    created = parse(record.created, rules.zone)
    if created is None:
        notes.append("time")
        told["time"] = "missing" if record.created is None else _short(record.created)
    deleted = None if record.deleted is None else _deleted(record.deleted, rules)
    if deleted is True:
        told["deleted"] = _short(record.deleted)
    if role != named:
        told["role"] = _short(named)
    if told:
        metadata = {**(metadata or {}), "import": told}
    return Clean(
        record.chat, record.position, identity(record), role, content, created, deleted,
        storable(metadata) if metadata else "{}", _author(record.author), record.waiting and rules.open_buffers,
        record.step, record.question, tuple(notes), record,
    )  # fmt: skip


def fits(text: str) -> bool:
    """Can PostgreSQL hold it? Encoding finds halves of characters, and eight times as fast as looking for them."""
    if "\0" in text:
        return False
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def _deleted(value: Any, rules: Rules) -> datetime | bool | None:
    """When; or that it was, where a flag or a time that nobody can read says no more."""
    if value in FLAGS or str(value).strip().lower() in NO:
        return str(value).strip().lower() not in NO or None
    return parse(value, rules.zone) or True


def identity(record: Record) -> str:
    """By the source's own id, else by the place in its conversation; what is stored there is compared."""
    if record.id is None or record.id == "":
        return f'["position",{record.position}]'
    return fitting(record.id if isinstance(record.id, str) else escaped(record.id))


def fitting(name: str) -> str:
    """As an external id, which has an end: a longer name is known by its hash."""
    if len(name) <= EXTERNAL_ID_LENGTH and fits(name):
        return name
    return encode(["sha256", sha256(name.encode("utf-8", "surrogatepass")).hexdigest()])


def refused(record: Record, reason: RejectReason, detail: str) -> Broken:
    return Broken(reason, f"message {record.position}", detail, record, record.chat)


def storable(value: Any) -> str:
    """JSON that a jsonb column takes."""
    try:
        text = encode(value)
    except ValueError:  # infinite: JSON has no such number
        return encode(_scrubbed(value))
    return text if "\\u0000" not in text and fits(text) else encode(_scrubbed(value))


def escaped(value: Any) -> str:
    """JSON text in which everything is visible, also what a database could not store."""
    try:
        return json.dumps(value, ensure_ascii=True, default=str)
    except RecursionError:
        return json.dumps(f"{type(value).__name__}: nested too deeply")


def _scrubbed(value: Any) -> Any:
    if isinstance(value, str):
        return UNSTORABLE.sub(INSTEAD, value)
    if isinstance(value, dict):
        return {_scrubbed(key): _scrubbed(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_scrubbed(inner) for inner in value]
    return str(value) if isinstance(value, float) and not isfinite(value) else value


def flattened(metadata: dict[str, Any]) -> dict[str, Any]:
    """The same where every value that is nested too deeply to be shown is JSON text, under `import.metadata`."""
    flat, told = _flattened(metadata)
    return {**flat, "import": told} if told else flat


def _flattened(metadata: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    deep = {name: value for name, value in metadata.items() if deeper_than(DEEPEST - 1, value)}
    flat = {name: value for name, value in metadata.items() if name not in deep}
    return flat, {"metadata": escaped(deep)} if deep else {}


def _repaired(content: str, notes: list[str]) -> dict[str, Any]:
    """Name what was replaced, and keep the original where it is short enough."""
    notes += ["nul"] * ("\0" in content) + ["surrogate"] * (re.search("[\ud800-\udfff]", content) is not None)
    told: dict[str, Any] = {"replaced": len(UNSTORABLE.findall(content))}
    return told | ({"original": escaped(content)} if len(content) <= ORIGINAL_KEPT else {})


def _text_of(content: Any, metadata: dict[str, Any] | None) -> tuple[str | None, dict[str, Any] | None]:
    """A list of parts becomes its texts, one a line, and keeps the parts; no text needs something else in its place."""
    if content is None and metadata and any(metadata.get(name) for name in WITHOUT_TEXT):
        return "", metadata
    parts = content if isinstance(content, list) else [content] if isinstance(content, dict) else None
    if not parts or not all(isinstance(part, str | dict) for part in parts):
        return None, metadata
    texts = [part if isinstance(part, str) else part.get("text") for part in parts]
    found = [text for text in texts if isinstance(text, str)]
    if all(isinstance(part, str) for part in parts):
        return "\n".join(found), metadata
    return "\n".join(found), {**(metadata or {}), "parts": parts}


def _author(author: Any) -> str:
    return UNSTORABLE.sub(INSTEAD, str(author))[:LONGEST_AUTHOR] if author else ""


def _short(value: Any) -> str:
    text = UNSTORABLE.sub(INSTEAD, value if isinstance(value, str) else escaped(value))
    return text if len(text) <= 80 else f"{text[:79]}…"
