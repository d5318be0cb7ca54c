"""Whose conversation it is: the number that API keys are bound to."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any

SMALLEST, LARGEST = -(2**63), 2**63 - 1
NUMBER = re.compile(r"-?\d{1,19}", re.ASCII)
BITS = 51  # with the sign: exact in every client's numbers, JavaScript's, too


def user_number(user: Any, *otherwise: str) -> int:
    """The source's number as it is; a name becomes a negative number, always the same one."""
    number = as_number(user)
    if number is not None:
        return number
    name = str(user) if user not in (None, "") else "\0".join(otherwise)
    return -1 - (int.from_bytes(sha256(name.encode("utf-8", "surrogatepass")).digest()[:8], "big") >> (64 - BITS))


def as_number(value: Any) -> int | None:
    """Where it is one that a bigint holds."""
    if isinstance(value, str) and NUMBER.fullmatch(value.strip()):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if SMALLEST <= value <= LARGEST else None
