"""The one narrow way to an agent: a request of values in, an outcome of values out.

Light on purpose: every process imports it. What it runs on (LangGraph, the model's client) is loaded with the first
turn, by the processes that run turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from agents import registry
from agents.errors import AgentBrokenError, AgentError
from agents.llm.phrases import language_of, phrase
from agents.outcomes import Outcome
from agents.registry import RegistryError
from agents.request import Request, Said

__all__ = ["AgentBrokenError", "AgentError", "Request", "Said", "on_failure", "run"]


def run(request: Request) -> Outcome:
    """Answer the burst. Raises AgentError where it could not; anything else raised is a bug or an outage."""
    from agents import graph

    return graph.answer(request, registry.version_for(request.agent_id, request.pinned))


def on_failure(agent_id: UUID | None, burst: Sequence[str]) -> str:
    """What the person is told when every attempt failed."""
    try:
        words = registry.version_for(agent_id).config.on_failure
    except RegistryError:
        words = ""
    return words or phrase("sorry", language_of(burst))
