"""Misconfiguration, told when the process starts and not when it matters."""

from typing import Any

from django.conf import settings
from django.core import checks


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
