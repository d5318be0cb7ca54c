"""Misconfiguration, told when the process starts and not when it matters."""

from typing import Any

from django.conf import settings
from django.core import checks


@checks.register(checks.Tags.security)
def https_without_a_proxy(**_options: Any) -> list[checks.CheckMessage]:
    """Nothing of ours speaks TLS: where no proxy is declared, every request is redirected to HTTPS without end."""
    if not (settings.PRODUCTION and settings.HTTPS and not settings.TRUSTED_PROXIES):
        return []
    return [
        checks.Warning(
            "HTTPS is on and no proxy is declared: each request is redirected, also behind a proxy that ends TLS.",
            hint="Set TRUSTED_PROXIES=1 behind one proxy, or HTTPS=false to try it without one.",
            id="parley.W002",
        )
    ]


@checks.register(checks.Tags.database)
def embedded_in_production(**_options: Any) -> list[checks.CheckMessage]:
    """The embedded PostgreSQL has no replica, no remote backup and one machine: fine to try, not to keep."""
    if not (settings.PRODUCTION and settings.EMBEDDED_DATABASE):
        return []
    return [
        checks.Warning(
            "Production runs on the embedded PostgreSQL.",
            hint="Set DATABASE_URL to a server with backups and pgvector.",
            id="parley.W001",
        )
    ]
