"""The seal of a backup's manifest: proof that this installation wrote it (ADR 0160).

A dump is a program: whoever restores it runs what it says, with the rights of the restoring role.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.utils.crypto import constant_time_compare, salted_hmac

SALT = "entities.backup.manifest"
SEAL = "seal"


def seal(manifest: Mapping[str, Any], *, key: str | None = None) -> str:
    """The HMAC of everything in a manifest but its seal."""
    text = json.dumps({name: value for name, value in manifest.items() if name != SEAL}, sort_keys=True)
    return salted_hmac(SALT, text, secret=key, algorithm="sha256").hexdigest()


def is_ours(manifest: Mapping[str, Any]) -> bool:
    """Whether it was sealed with SECRET_KEY, or one of SECRET_KEY_FALLBACKS."""
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return any(constant_time_compare(str(manifest.get(SEAL, "")), seal(manifest, key=key)) for key in keys)
