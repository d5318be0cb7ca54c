"""Where a request comes from."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest


def client_address(request: HttpRequest) -> str:
    """The caller as the outermost trusted proxy saw it; what callers write into X-Forwarded-For never counts."""
    forwarded = [part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",") if part.strip()]
    proxies: int = settings.TRUSTED_PROXIES
    if 0 < proxies <= len(forwarded):
        return forwarded[-proxies][:64]
    return str(request.META.get("REMOTE_ADDR", ""))
