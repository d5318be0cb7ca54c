"""What a burst is: which texts open one, what it is called, and how long it waits."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings

from agents.config import Debounce

COMMAND = re.compile(r"/([A-Za-z][A-Za-z0-9_]{0,31})(@\w{1,64})?(?=\s|$)")
SPLIT_AT = 4090  # UTF-16 units: clients split what is longer than 4,096 into parts, not always exactly there
INVISIBLE = frozenset({"Cc", "Cf", "Zl", "Zp", "Zs"})  # controls, formats (zero-width), separators
BLANK_LETTERS = frozenset("\u2800\u3164\u115f\u1160\uffa0")  # look like nothing, count as letters


def is_blank(text: str) -> bool:
    """Nothing a person could see: spaces of any kind, zero-width characters, controls."""
    return all(unicodedata.category(letter) in INVISIBLE or letter in BLANK_LETTERS for letter in text)


def command_in(text: str) -> str | None:
    """The name of the command a message is; `/usr/bin` is none."""
    found = COMMAND.match(text)
    return found[1].lower() if found else None


def flush_id(user_id: int | str, conversation_id: str, interview_step: int, first_message_index: int) -> str:
    """One name for one burst, the same whoever computes it: a JSON array, so that no separator can make two alike."""
    return json.dumps([user_id, conversation_id, interview_step, first_message_index], ensure_ascii=False)


def parsed_flush_id(text: str) -> tuple[int | str, str, int, int]:
    user_id, conversation_id, interview_step, first_message_index = json.loads(text)
    return user_id, conversation_id, interview_step, first_message_index


def continues(text: str, metadata: Mapping[str, Any]) -> bool:
    """Will the rest follow by itself? A long text's next part, an album's next picture, the comment to a forward."""
    if len(text.encode("utf-16-le", "surrogatepass")) // 2 >= SPLIT_AT:
        return True
    return bool(metadata.get("media_group_id") or metadata.get("forwarded"))


@dataclass(frozen=True, slots=True)
class Window:
    """How long a burst waits, and how large it may become."""

    debounce: timedelta
    typing: timedelta
    max_wait: timedelta
    join: timedelta
    max_size: int
    max_bytes: int

    @classmethod
    def configured(cls, agent: Debounce | None = None) -> Window:
        """As the settings say; what the agent's config says goes before."""
        own = agent or Debounce()
        return cls(
            debounce=_seconds(own.debounce, settings.INTERVIEW_BUFFER_DEBOUNCE_TIMEOUT),
            typing=_seconds(own.typing, settings.INTERVIEW_TYPING_DEBOUNCE_TIMEOUT),
            max_wait=_seconds(own.max_wait, settings.INTERVIEW_BUFFER_MAX_WAIT),
            join=timedelta(seconds=settings.INTERVIEW_BUFFER_JOIN_TIMEOUT),
            max_size=own.max_size or settings.INTERVIEW_BUFFER_MAX_SIZE,
            max_bytes=settings.INTERVIEW_BUFFER_MAX_BYTES,
        )

    def quiet_after(self, text: str, metadata: Mapping[str, Any]) -> timedelta:
        """How long to be quiet after this message before answering."""
        return max(self.debounce, self.join) if continues(text, metadata) else self.debounce


def _seconds(own: float | None, common: float) -> timedelta:
    return timedelta(seconds=common if own is None else own)
