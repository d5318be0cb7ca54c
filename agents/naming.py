"""Tells the search page which agents there are."""

from __future__ import annotations

from collections.abc import Iterable

from agents.models import Agent
from search import naming


def agents() -> Iterable[tuple[str, str]]:
    return [(str(id_), name) for id_, name in Agent.objects.order_by("name").values_list("pk", "name")]


naming.CHOICES["agent"] = agents
