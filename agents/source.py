"""Which message a tool call goes back to: what staff are shown when they ask where a value comes from."""

from __future__ import annotations

import json
import re
from typing import Any
from uuid import UUID

from agents.request import Request

WORD = re.compile(r"\w{3,}")


def of(request: Request, arguments: dict[str, Any]) -> UUID | None:
    """The message of the burst that shares most words with the arguments; of equals the last. None where none is known.

    Words are compared by their first five letters: the model repeats them in another case or number.
    """
    if len(request.message_ids) != len(request.burst) or not request.burst:
        return None
    asked = _stems(json.dumps(arguments, ensure_ascii=False, default=str))
    shared = [len(asked & _stems(text)) for text in request.burst]
    best = max(range(len(shared)), key=lambda index: (shared[index], index))
    return request.message_ids[best]


def _stems(text: str) -> set[str]:
    return {word[:5] for word in WORD.findall(text.lower())}
