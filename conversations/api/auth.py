"""Who calls, and may they? `Authorization: Bearer <key>` and nothing else: cookies do not count here (ADR 0043)."""

from dataclasses import dataclass
from typing import Any

import structlog
from django.conf import settings
from django.http import HttpRequest
from ninja.security.http import HttpAuthBase

from config.addresses import network_of
from conversations import keys, tally
from conversations.api import limits
from conversations.api.errors import ApiError
from conversations.keys import Caller
from conversations.models import Scope

logger = structlog.get_logger(__name__)

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="parley"'}
BAD_KEY = "bad_key"  # the kind that refused keys are counted as, by address


@dataclass(frozen=True, slots=True)
class Budget:
    """Calls that are counted together, and the setting that bounds them."""

    kind: str
    setting: str

    @property
    def limit(self) -> int:
        calls: int = getattr(settings, self.setting)
        return calls


READS = Budget("read", "API_READS_PER_MINUTE")
WRITES = Budget("write", "API_WRITES_PER_MINUTE")
SEARCHES = Budget("search", "API_SEARCHES_PER_MINUTE")


class ApiKey(HttpAuthBase):
    """Lets a call pass when its key is good, has the scope and has calls left; leaves the Caller in `request.auth`.

    The name of the class is the name of the security scheme in the OpenAPI document.
    """

    openapi_scheme = "bearer"

    def __init__(self, scope: Scope, budget: Budget) -> None:
        self.scope, self.budget = scope, budget
        super().__init__()

    def __call__(self, request: HttpRequest) -> Caller:
        caller = _recognise(request)
        tally.write_failures()  # the database answers
        if not caller.may(self.scope):
            raise ApiError(403, "missing_scope", f"This key lacks the scope `{self.scope.value}`.")
        limits.allow(self.budget.kind, str(caller.key_id), limit=self.budget.limit)
        return caller


def refuse_key_in_query(request: HttpRequest) -> None:
    """Addresses end up in logs, histories and referrers: a key there must not seem to work."""
    query: Any = request.META.get("QUERY_STRING", "")
    if keys.SHAPE.search(query):
        raise ApiError(400, "key_in_query", "Never put a key into an address. Revoke it and use the header.")


def _recognise(request: HttpRequest) -> Caller:
    scheme, _, token = request.headers.get("Authorization", "").strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise ApiError(401, "missing_key", "Send `Authorization: Bearer <key>`.", headers=CHALLENGE)
    try:
        return keys.authenticate(token.strip())
    except keys.KeyRefusedError as error:
        # Good keys pass whatever others do at the same address; only guessing runs dry.
        address = network_of(request)
        logger.info("api key refused", address=address)
        limits.allow(BAD_KEY, address, limit=settings.API_BAD_KEYS_PER_MINUTE)
        raise ApiError(401, "invalid_key", str(error), headers=CHALLENGE) from error
