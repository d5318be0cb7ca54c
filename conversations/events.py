"""What happens to a burst, told as structured log lines with validated payloads and no message text."""

from __future__ import annotations

import logging
from typing import ClassVar, Literal
from uuid import UUID

import structlog
from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveInt

Activity = Literal["typing", "recording", "uploading"]

log = structlog.get_logger("conversations.events")


class Event(BaseModel):
    """A payload that is what it says, or is not told at all."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    name: ClassVar[str]

    conversation_id: UUID
    interview_step: NonNegativeInt

    def tell(self) -> None:
        log.log(self.level(), self.name, **self.model_dump(mode="json"))

    def level(self) -> int:
        return logging.INFO


class MessageBuffered(Event):
    """A message joined the open burst."""

    name = "message.buffered"

    message_index: NonNegativeInt
    burst_size: PositiveInt
    opened: bool
    flush_id: str
    wait_ms: NonNegativeInt  # until the burst is answered, if nothing more comes


class TypingActivity(Event):
    """The person goes on writing: the burst waits a little longer."""

    name = "typing.activity"

    activity: Activity


class BufferFlush(Event):
    """A burst was sealed into a turn."""

    name = "buffer.flush"

    turn_id: UUID
    flush_id: str
    trigger: str
    burst_size: PositiveInt
    waited_ms: NonNegativeInt
    extended_by_typing: NonNegativeInt

    def level(self) -> int:
        """An overflow is an anomaly: people seldom write as much before it is quiet."""
        return logging.WARNING if self.trigger == "overflow" else logging.INFO
