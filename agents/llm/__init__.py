"""The models behind the agents: any OpenAI-compatible server, or the built-in one that needs no network."""

from __future__ import annotations

from django.conf import settings

from agents.config import SCRIPTED, AgentConfig

DEFAULT = "default"  # in a config file: the model that LLM_MODEL names


def model_name(config: AgentConfig) -> str:
    """The model that answers here and now: without a key the built-in one does, whatever the configuration names."""
    if config.model == SCRIPTED or not (settings.OPENAI_API_KEY or settings.OPENAI_BASE_URL):
        return SCRIPTED
    return settings.LLM_MODEL if config.model == DEFAULT else config.model
