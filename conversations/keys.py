"""Keys of the HTTP API: made, listed, rotated, revoked, and recognised (ADR 0023)."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import structlog
from django.core.exceptions import ValidationError
from django.db import DatabaseError, connection, models, transaction
from django.db.models import F, Q, Value
from django.db.models.functions import Least

from agents import audit
from config import rls
from config.columns import clock
from config.statements import ask
from conversations.models import ApiKey, Scope

log = structlog.get_logger(__name__)

SHAPE = re.compile(r"parley_([0-9a-z]{8})_[0-9A-Za-z_-]{43}", re.ASCII)
ALPHABET = string.ascii_lowercase + string.digits
SECRET_BYTES = 32
NOBODY = hashlib.sha256(secrets.token_bytes(SECRET_BYTES)).hexdigest()  # what an unknown prefix is compared with
NIL = UUID(int=0)
OVERLAP = timedelta(days=7)
LOOK_UP = """
SELECT id, hash, name, user_id, scopes, last_used IS NULL OR last_used < clock_timestamp() - interval '1 minute'
FROM api_keys WHERE prefix = %s AND revoked IS NULL AND (expires IS NULL OR expires > clock_timestamp())
"""
STAMP = """
UPDATE api_keys SET last_used = clock_timestamp()
WHERE id = %s AND (last_used IS NULL OR last_used < clock_timestamp() - interval '1 minute')
"""


class ApiKeyError(Exception):
    """The key cannot be used."""

    permanent = True


class KeyRefusedError(ApiKeyError):
    """Unknown, mistyped, revoked or expired: one answer for all, so that nobody learns which."""


class KeyInvalidError(ApiKeyError):
    """No key can be made like that."""


class KeyNotFoundError(ApiKeyError):
    """There is no key with that prefix."""


class IsolationUnavailableError(ApiKeyError):
    """The key is bound to a user, and this database cannot keep users apart."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a request comes from; `user_id` None is a service that acts for everybody."""

    key_id: UUID
    prefix: str
    name: str
    user_id: int | None
    scopes: frozenset[str]

    def may(self, scope: str) -> bool:
        return scope in self.scopes


def create(
    name: str,
    *,
    by: str,
    user_id: int | None = None,
    scopes: Iterable[str] | None = None,
    expires_in: timedelta | None = None,
) -> tuple[ApiKey, str]:
    """Make a key; the token is returned here and nowhere else ever again."""
    prefix = "".join(secrets.choice(ALPHABET) for _ in range(8))
    token = f"parley_{prefix}_{secrets.token_urlsafe(SECRET_BYTES)}"
    key = ApiKey(
        name=name,
        prefix=prefix,
        hash=_hash(token),
        user_id=user_id,
        scopes=sorted(set(Scope.values if scopes is None else scopes)),
    )
    try:
        key.full_clean()
    except ValidationError as error:
        raise KeyInvalidError(
            "; ".join(f"{name}: {' '.join(said)}" for name, said in error.message_dict.items())
        ) from error
    if expires_in is not None:
        key.expires = clock() + Value(expires_in)
    with transaction.atomic():
        key.save(force_insert=True)
        told = {"name": name, "user_id": user_id, "scopes": key.scopes}
        audit.record("key.create", by, ("api_key", prefix), told)
    key.refresh_from_db()
    log.info("api key created", key=prefix, by=by, user=user_id)
    return key, token


def every() -> models.QuerySet[ApiKey]:
    """All keys, the newest first; none of them can be turned back into a token."""
    return ApiKey.objects.annotate(ended=Q(expires__lte=clock())).order_by("-created_at", "-id")


def state(key: ApiKey) -> str:
    """`live`, `revoked` or `expired`, of a key that came from `every`."""
    if key.revoked:
        return "revoked"
    return "expired" if getattr(key, "ended", False) else "live"


def revoke(prefix: str, *, by: str) -> ApiKey:
    """End a key at once: every process asks the table on every request."""
    with transaction.atomic():
        changed = ApiKey.objects.filter(prefix=prefix, revoked__isnull=True).update(revoked=clock(), updated_at=clock())
        if changed:
            audit.record("key.revoke", by, ("api_key", prefix))
    key = _get(prefix)
    if changed:
        log.info("api key revoked", key=prefix, by=by)
    return key


def rotate(prefix: str, *, by: str, overlap: timedelta = OVERLAP) -> tuple[ApiKey, str]:
    """A new key with the same rights; the old one works for the overlap and then expires by itself."""
    with transaction.atomic():
        old = ApiKey.objects.usable().select_for_update().filter(prefix=prefix).first()
        if old is None:
            raise KeyNotFoundError(f"There is no usable key {prefix}.")
        ends = Least(F("expires"), clock() + Value(overlap))  # PostgreSQL leaves NULL out
        ApiKey.objects.filter(pk=old.pk).update(expires=ends, updated_at=clock())
        new = create(old.name, by=by, user_id=old.user_id, scopes=old.scopes)
        audit.record("key.rotate", by, ("api_key", prefix), {"successor": new[0].prefix})
        return new


def authenticate(token: str) -> Caller:
    """Who is it? Looked up every time, so that revoking needs no broadcast; stamps `last_used` once a minute."""
    shape = SHAPE.fullmatch(token)
    prefix = shape.group(1) if shape else ""
    rows = ask(LOOK_UP, (prefix,))
    id_, known_hash, name, user_id, scopes, stale = rows[0] if rows else (NIL, NOBODY, "", None, [], False)
    if not hmac.compare_digest(known_hash, _hash(token)) or not rows:
        raise KeyRefusedError("The API key is not valid.")
    if user_id is not None and not _isolation_works():
        raise IsolationUnavailableError(
            "This API key is bound to a user, and this database has no role `parley_client` to keep users apart."
        )
    if stale:
        _stamp(id_)
    return Caller(id_, prefix, name, user_id, frozenset(scopes))


def _stamp(key_id: UUID) -> None:
    """Note the use; a database that takes no writes just now still answers reads."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(STAMP, (key_id,))
    except DatabaseError as error:
        log.warning("use of an api key not noted", key=str(key_id), reason=type(error).__name__)


def _get(prefix: str) -> ApiKey:
    try:
        return ApiKey.objects.get(prefix=prefix)
    except ApiKey.DoesNotExist as error:
        raise KeyNotFoundError(f"There is no key {prefix}.") from error


_isolation_seen = False


def _isolation_works() -> bool:
    """A yes holds for the life of the process, a no is asked again."""
    global _isolation_seen
    _isolation_seen = _isolation_seen or rls.available()
    return _isolation_seen


def _hash(token: str) -> str:
    """Plain SHA-256 is enough for 256 random bits, and no pepper means that SECRET_KEY may change."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
