"""The shapes of the API, and what a value must be like to be taken."""

import json
import re
import unicodedata
from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from ninja import Schema
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from conversations.log import Entry
from conversations.models import Conversation, Turn

TEXT_BYTES = 1_048_576
METADATA_BYTES = 65_536
METADATA_DEPTH = 32
METADATA_NAMES = 1_000
PAGE = 50
LARGEST_PAGE = 500
HIGHEST_INDEX = 2**53 - 1  # what every JSON reader holds exactly; leaves the database room to count on
UUID_PATTERN = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
CANONICAL = re.compile(UUID_PATTERN, re.ASCII)
INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,18})", re.ASCII)
INVISIBLE = frozenset({"Cc", "Cf", "Zl", "Zp", "Zs"})  # controls, formats (zero-width), separators


def refused(code: str, says: str) -> PydanticCustomError:
    """A finding with a code of ours."""
    return PydanticCustomError(code, says, {"ours": True})


def _canonical(value: Any) -> Any:
    """One spelling per id, so that equal ids are equal strings everywhere."""
    if isinstance(value, UUID):
        return value
    if not isinstance(value, str) or not CANONICAL.fullmatch(value):
        raise refused("invalid_value", "Not an id: 32 lower-case hexadecimal digits in groups of 8-4-4-4-12")
    return UUID(value)


def digits(value: Any) -> Any:
    """Query strings are text; int() would take spaces, underscores and other alphabets' digits."""
    if isinstance(value, str):
        if not INTEGER.fullmatch(value):
            raise refused("invalid_value", "Not an integer")
        return int(value)
    return value


def visible(text: str) -> str:
    if all(unicodedata.category(letter) in INVISIBLE for letter in text):
        raise refused("blank", "There is nothing to see in this text")
    if "\0" in text:  # bodies are read strictly before; a query string comes as it is
        raise refused("invalid_character", "U+0000 and half surrogate pairs cannot be stored")
    if len(text.encode()) > TEXT_BYTES:
        raise refused("too_long", "The text is larger than 1 MB (1,048,576 bytes of UTF-8)")
    return text


def _bounded(metadata: dict[str, Any]) -> dict[str, Any]:
    depth, names = _measure(metadata)
    if depth > METADATA_DEPTH or names > METADATA_NAMES:
        raise refused("too_complex", "Metadata may be 32 levels deep and hold 1,000 names")
    if len(json.dumps(metadata, ensure_ascii=False, separators=(",", ":")).encode()) > METADATA_BYTES:
        raise refused("too_long", "Metadata may have 64 kB (65,536 bytes of UTF-8)")
    return metadata


def _measure(value: Any) -> tuple[int, int]:
    """Levels and names; the parser has bounded both already."""
    if not isinstance(value, dict | list):
        return 0, 0
    inner = [_measure(one) for one in (value.values() if isinstance(value, dict) else value)]
    names = len(value) if isinstance(value, dict) else 0
    return 1 + max((depth for depth, _ in inner), default=0), names + sum(more for _, more in inner)


Id = Annotated[
    UUID,
    BeforeValidator(_canonical),
    WithJsonSchema({"type": "string", "format": "uuid", "pattern": UUID_PATTERN}),
]
# Bounds stand before the conversion: behind it, the document would name them `ge` and `le`, which no JSON Schema knows.
Index = Annotated[int, Field(ge=0, le=HIGHEST_INDEX)]
After = Annotated[int, Field(ge=-1, le=HIGHEST_INDEX)]
Limit = Annotated[int, Field(ge=1, le=LARGEST_PAGE), BeforeValidator(digits)]
BigInt = Annotated[int, Field(strict=True, ge=-(2**63), le=2**63 - 1)]
Text = Annotated[str, AfterValidator(visible), Field(min_length=1, max_length=TEXT_BYTES)]
Metadata = Annotated[
    dict[str, Any], AfterValidator(_bounded), Field(json_schema_extra={"maxProperties": METADATA_NAMES})
]
AgentName = Annotated[str, Field(max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
Title = Annotated[str, Field(max_length=200)]
ExternalId = Annotated[str, Field(min_length=1, max_length=255)]
MessageRole = Literal["user", "assistant", "system", "tool"]


class Body(Schema):
    """What a client sends: no other names, no conversions."""

    model_config = ConfigDict(extra="forbid", strict=True)


class NewSession(Body):
    user_id: BigInt = Field(description="Whose conversation it is.")
    chat_id: BigInt | None = Field(None, description="The live session of this chat is returned if there is one.")
    agent: AgentName | None = Field(None, description="Name of the agent that answers.")
    title: Title | None = None
    metadata: Metadata = Field(default_factory=dict, description="At most 64 kB, 32 levels, 1,000 names.")


class NewMessage(Body):
    session_id: Id
    role: MessageRole
    content: Text = Field(description="At most 1 MB; something must be visible in it.")
    metadata: Metadata = Field(default_factory=dict, description="At most 64 kB, 32 levels, 1,000 names.")
    external_id: ExternalId | None = Field(
        None, description="Your name for the message: repeating the call with it stores nothing twice."
    )


class Page(Schema):
    """Which messages: the newest, those behind an index, or those before one."""

    after_index: Annotated[After | None, BeforeValidator(digits)] = Field(
        None, description="Messages behind this index, the oldest first; -1 starts at the beginning."
    )
    before_index: Annotated[Index | None, BeforeValidator(digits)] = Field(
        None, description="The newest messages before this index."
    )
    limit: Limit = PAGE


class Session(Schema):
    """A conversation."""

    id: UUID
    user_id: int
    chat_id: int | None
    channel: str
    agent: str | None
    title: str
    mode: Literal["auto", "manual", "closed"]
    interview_step: int
    message_count: int = Field(description="Messages that can be read; cleared ones are not counted.")
    last_message_at: datetime | None
    metadata: dict[str, Any]
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, conversation: Conversation, *, agent: str | None) -> Self:
        return cls(
            id=conversation.pk,
            user_id=conversation.user_id,
            chat_id=conversation.chat_id,
            channel=conversation.channel,
            agent=agent,
            title=conversation.title,
            mode=conversation.mode,  # type: ignore[arg-type]  # a CHECK knows no other
            interview_step=conversation.interview_step,
            message_count=conversation.visible_count,
            last_message_at=conversation.last_message_at,
            metadata=conversation.metadata,
            created_at=conversation.created_at,
            updated_at=conversation.updated_at,
        )


class Message(Schema):
    """One message as it is stored."""

    id: UUID
    session_id: UUID
    message_index: int = Field(description="Its place in the session, from 0 and without gaps.")
    role: MessageRole
    content: str
    character_count: int
    metadata: dict[str, Any]
    external_id: str | None
    inbound: bool = Field(description="Came from the person, through `inbound` or a channel.")
    turn_id: UUID | None
    agent_version: int | None
    created_at: datetime
    deleted_at: datetime | None

    @classmethod
    def of(cls, entry: Entry) -> Self:
        return cls(
            id=entry.id,
            session_id=entry.conversation_id,
            message_index=entry.message_index,
            role=entry.role,  # type: ignore[arg-type]  # a CHECK knows no other
            content=entry.content,
            character_count=entry.character_count,
            metadata=entry.metadata,
            external_id=entry.external_id,
            inbound=entry.inbound,
            turn_id=entry.turn_id,
            agent_version=entry.agent_version,
            created_at=entry.created_at,
            deleted_at=entry.deleted_at,
        )


class Messages(Schema):
    """A page in order of index."""

    messages: list[Message]
    count: int = Field(description="Messages of the session that can be read, on this page or not.")
    next_after_index: int | None = Field(description="Give it as `after_index` for what follows; null at the end.")


class Cleared(Schema):
    cleared: int = Field(description="How many messages were marked deleted.")


class Inbound(Body):
    content: Text = Field(description="At most 1 MB; something must be visible in it.")
    external_id: ExternalId | None = Field(
        None, description="Your name for the message: repeating the call with it stores nothing twice."
    )
    metadata: Metadata = Field(default_factory=dict, description="At most 64 kB, 32 levels, 1,000 names.")


class Received(Schema):
    """A message of the person, stored."""

    message: Message
    flush_at: datetime | None = Field(description="When its burst is answered, if nothing more comes.")
    flush_id: str | None = Field(description="The burst: a JSON array of user, session, step and first index.")
    fate: Literal["staff", "skipped"] | None = Field(description="Why no agent answers it, where none does.")
    command: str | None = Field(description="The command it is, such as `start`.")


class Activity(Body):
    activity: Literal["typing", "recording", "uploading", "cancel"]


class Typing(Schema):
    flush_at: datetime | None = Field(description="When the open burst is answered now; null where none was moved.")


class Latest(Schema):
    """How many of the latest."""

    limit: Limit = PAGE


class Since(Schema):
    """Where a stream begins."""

    after_index: Annotated[After | None, BeforeValidator(digits)] = Field(
        None, description="Messages behind this index first; without it, only what is new."
    )


class TurnShape(Schema):
    """A burst on its way to one answer."""

    id: UUID
    flush_id: str
    status: Literal["waiting", "running", "done", "superseded", "withdrawn", "failed"]
    trigger: Literal["debounce", "overflow", "max_wait", "immediate", "staff"]
    interview_step: int
    message_indexes: list[int] = Field(description="The messages it answers, in order.")
    waited_ms: int = Field(description="From the first message to the sealing of the burst.")
    lateness_ms: int | None = Field(description="From the end of the waiting to the start of the agent.")
    extended_by_typing: int
    attempts: int
    reply_index: int | None = Field(description="The answer among the messages.")
    superseded_by: UUID | None = Field(description="The turn that answered its messages instead.")
    agent_version: int | None
    input_tokens: int
    output_tokens: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @classmethod
    def of(cls, turn: Turn, *, reply_index: int | None) -> Self:
        same = {
            name: getattr(turn, name)
            for name in cls.model_fields
            if name not in {"message_indexes", "lateness_ms", "reply_index"}
        }
        late = turn.started_at - turn.due_at if turn.started_at else None
        return cls(
            **same,
            message_indexes=[message["message_index"] for message in turn.input],
            lateness_ms=None if late is None else round(late.total_seconds() * 1000),
            reply_index=reply_index,
        )


class Turns(Schema):
    turns: list[TurnShape]
