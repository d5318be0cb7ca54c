"""Connections past Django: what a client in another language, or a hand at psql, would do."""

from __future__ import annotations

from typing import Any

import psycopg
from django.db import connection
from psycopg.rows import DictRow, dict_row


def parameters() -> dict[str, Any]:
    """Where the test's database is."""
    wanted = {"HOST": "host", "PORT": "port", "USER": "user", "NAME": "dbname"}
    return {name: connection.settings_dict[key] for key, name in wanted.items()}


def connect(**more: Any) -> psycopg.Connection[DictRow]:
    """A connection that commits every statement, rows as dictionaries."""
    return psycopg.connect(**{**parameters(), "autocommit": True, **more}, row_factory=dict_row)  # type: ignore[arg-type]


def url() -> str:
    """The same for a process of its own."""
    from urllib.parse import quote

    place = parameters()
    return f"postgresql://{place['user']}@{quote(place['host'], safe='')}:{place['port'] or 5432}/{place['dbname']}"
