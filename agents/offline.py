"""Answering while the database is away: the agent as it was last known, without history, tools and checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django.conf import settings
from django.db import InterfaceError, OperationalError

from agents import files, prompt, registry
from agents.config import SCRIPTED, AgentConfig, ConfigInvalidError
from agents.errors import AgentError
from agents.llm import model_name
from agents.llm.phrases import language_of, phrase
from agents.text import storable


@dataclass(frozen=True, slots=True)
class Known:
    """What a process remembers of an agent; without a version where only its file could be read."""

    name: str
    config: AgentConfig
    version: int | None


def known(name: str) -> Known:
    """The agent as it speaks now; without the database, as its file says."""
    name = name or settings.DEFAULT_AGENT
    try:
        speaking = registry.version_for(registry.find(name).id)
        return Known(name, speaking.config, speaking.version)
    except (OperationalError, InterfaceError, registry.RegistryError):
        return from_file(name)


def from_file(name: str) -> Known:
    """Raises AgentError where the agent was made by staff and has no file of its name."""
    try:
        return Known(name, files.read(f"{name}.toml"), None)
    except ConfigInvalidError as error:
        raise AgentError(f"Without the database nothing is known of the agent {name}: {error}") from error


def answer(agent: Known, burst: Sequence[str], *, still_ours: Callable[[], bool] = lambda: True) -> str:
    """What it says to the burst alone; raises AgentError where it could not."""
    if model_name(agent.config) == SCRIPTED:
        return phrase("away", language_of(burst))
    text = prompt.unmarked(str(storable(_asked(agent.config, burst, still_ours)))).strip()
    if not text:
        raise AgentError("The model's answer was empty.")
    return text


def _asked(config: AgentConfig, burst: Sequence[str], still_ours: Callable[[], bool]) -> str:
    from langchain_core.messages import HumanMessage, SystemMessage  # large, and most processes never need it

    from agents.llm import compatible
    from agents.llm.stream import StreamedAnswer

    answer = StreamedAnswer()
    known = compatible.from_settings(model_name(config))
    model = known.model_copy(update={"answer": answer, "stream_usage": False})  # nobody counts here
    messages = [SystemMessage(prompt.offline(config)), HumanMessage("\n".join(burst))]
    seconds = min(config.budgets.seconds, float(settings.LLM_TIMEOUT))
    compatible.within(lambda: model.invoke(messages), answer, seconds=seconds, still_ours=still_ours)
    return answer.text or answer.refusal
