"""A queued row says what code runs on which arguments, so it is signed: who can write rows cannot choose code.

JSON and HMAC, never pickle. Every row names the key that signed it, so SECRET_KEY can be rotated under a full queue.
"""

import functools
import hashlib
import json
from typing import Any

from django.conf import settings
from django.utils.crypto import constant_time_compare, salted_hmac

from config.models.queued_task import ARGS_LIMIT, KEY_LIMIT
from config.queue.errors import ArgumentsError, UnreadableError

SALT = "parley.queue"


def encode(name: str, args: tuple[Any, ...]) -> str:
    """Arguments as the JSON that is stored; refuses what would not come back the same."""
    try:
        text = json.dumps(args, allow_nan=False, separators=(",", ":"))
        same = json.loads(text) == list(args)
    except (TypeError, ValueError, RecursionError) as error:
        raise ArgumentsError(f"The arguments of {name} are not JSON: {error}") from error
    if not same:
        raise ArgumentsError(f"The arguments of {name} change on their way through JSON: pass lists and string keys.")
    if len(text) > ARGS_LIMIT:
        raise ArgumentsError(f"The arguments of {name} take {len(text)} bytes of {ARGS_LIMIT}: pass ids, not contents.")
    return text


def encode_key(key: object) -> str:
    """A key as text: a string as it is, a composite as a JSON array, never a joined string."""
    text = key if isinstance(key, str) else json.dumps(key, allow_nan=False, separators=(",", ":"))
    if not 0 < len(text) <= KEY_LIMIT:
        raise ArgumentsError(f"A key has 1 to {KEY_LIMIT} characters, this one {len(text)}.")
    return text


def sign(name: str, args: str) -> tuple[str, str]:
    """The id of today's key, and the signature of the row under it."""
    key_id, secret = _keys(settings.SECRET_KEY)[0]
    return key_id, _signature(secret, name, args)


def verified(name: str, args: str, key_id: str, signature: str) -> list[Any]:
    """The arguments of a row that is ours and unchanged; raises UnreadableError with the reason otherwise."""
    secret = dict(_keys(settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)).get(key_id)
    if secret is None:
        raise UnreadableError(f"Signed with the key {key_id[:20]!r}, which is neither SECRET_KEY nor a fallback of it.")
    if not constant_time_compare(signature, _signature(secret, name, args)):
        raise UnreadableError("The signature does not belong to this task and these arguments.")
    decoded = json.loads(args)
    if not isinstance(decoded, list):
        raise UnreadableError("The arguments are not a JSON array.")
    return decoded


@functools.lru_cache(maxsize=8)
def _keys(*secrets: str) -> list[tuple[str, str]]:
    """Each key with its id, newest first; the id tells nothing about the key."""
    return [(hashlib.sha256(f"{SALT}.key_id:{secret}".encode()).hexdigest()[:12], secret) for secret in secrets]


@functools.lru_cache(maxsize=4096)  # the messages of a burst sign one and the same timer
def _signature(secret: str, name: str, args: str) -> str:
    return salted_hmac(SALT, json.dumps([name, args]), secret=secret, algorithm="sha256").hexdigest()
