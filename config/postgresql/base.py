"""The backend that `DATABASES` names."""

from __future__ import annotations

from types import SimpleNamespace

import psycopg
from django.db.backends.postgresql import base

from config.postgresql.connections import WatchedConnection


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's own, connecting by WatchedConnection."""

    Database = SimpleNamespace(**{**vars(psycopg), "connect": WatchedConnection.connect})  # type: ignore[assignment]
