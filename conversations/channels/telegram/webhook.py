"""Where Telegram brings updates: acknowledged once they are committed, and brought again where they are not."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Iterator
from functools import lru_cache
from uuid import UUID

import structlog
from django.conf import settings
from django.http import Http404, HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from agents import registry
from conversations.channels import ChannelUnavailableError
from conversations.channels.telegram import NAME, client, updates
from conversations.channels.telegram.reading import UnreadableError

log = structlog.get_logger(__name__)

HEADER = "X-Telegram-Bot-Api-Secret-Token"
SECRET = re.compile(r"[A-Za-z0-9_-]{1,256}")
LARGEST = 1024 * 1024  # bytes; Telegram's own updates are some kilobytes


@csrf_exempt
@require_POST
def webhook(request: HttpRequest, bot: str) -> JsonResponse:
    """Take one update. A stranger learns nothing here, and nothing of what he sent is read."""
    try:
        bot_id = client.bot_id_of(client.token())
    except ChannelUnavailableError:
        raise Http404 from None
    if bot not in (NAME, str(bot_id)):
        raise Http404
    if not _is_known(request.headers.get(HEADER, ""), bot_id):
        log.warning("webhook refused", reason="secret")
        return _refused(403, "forbidden", "The secret is missing or wrong.")
    announced = request.headers.get("Content-Length", "")
    if (announced.isdigit() and int(announced[:20]) > LARGEST) or len(request.body) > LARGEST:
        log.warning("webhook refused", reason="size")
        return _refused(413, "body_too_large", "An update has at most 1 MiB.")
    try:
        outcome = updates.take(json.loads(request.body), bot_id=bot_id, agent_id=_agent_id())
    except (ValueError, RecursionError, UnreadableError):  # UnicodeDecodeError is a ValueError
        log.warning("webhook refused", reason="no update")
        return _refused(400, "unreadable", "This is no update.")
    return JsonResponse({"ok": True, "outcome": outcome})


def secret(bot_id: int, key: str | None = None) -> str:
    """What Telegram is to say: as the settings have it, else made from SECRET_KEY for this bot alone."""
    given: str = settings.TELEGRAM_WEBHOOK_SECRET
    if given:
        return given
    made = hmac.new((key or settings.SECRET_KEY).encode(), f"telegram webhook {bot_id}".encode(), hashlib.sha256)
    return made.hexdigest()


def _is_known(offered: str, bot_id: int) -> bool:
    """Compared in constant time with each secret there may be: a rotated SECRET_KEY must not close the door."""
    matches = [hmac.compare_digest(offered.encode(), known.encode()) for known in _secrets(bot_id)]
    return any(matches)


def _secrets(bot_id: int) -> Iterator[str]:
    for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS):
        yield secret(bot_id, key)


def _agent_id() -> UUID | None:
    return _id_of(settings.TELEGRAM_AGENT) if settings.TELEGRAM_AGENT else None


@lru_cache(maxsize=8)
def _id_of(name: str) -> UUID:
    return UUID(str(registry.find(name).pk))


def _refused(status: int, code: str, detail: str) -> JsonResponse:
    return JsonResponse({"error": code, "detail": detail}, status=status)
