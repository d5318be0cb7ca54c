"""Tells the search which agents there are, and who answers where a conversation names none."""

from __future__ import annotations

from collections.abc import Iterable

from django.conf import settings

from agents.models import Agent
from search import naming


def agents() -> Iterable[tuple[str, str]]:
    return [(str(id_), name) for id_, name in Agent.objects.order_by("name").values_list("pk", "name")]


def default() -> str | None:
    """Who answers there now. Conversations follow the setting, so what was said in them is found under it at once."""
    found = Agent.objects.active().filter(name=settings.DEFAULT_AGENT).values_list("pk", flat=True).first()
    return str(found) if found else None


naming.CHOICES["agent"] = agents
naming.DEFAULTS["agent"] = default
