"""System checks and doctor's checks of agents: tools that can be called, and the model that answers."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core import checks
from django.utils.translation import gettext as _

from agents import allowlist
from agents.config import SCRIPTED
from agents.models import Agent, AgentVersion
from config.health import Result


@checks.register
def tool_packages(**_options: Any) -> list[checks.CheckMessage]:
    """AGENT_TOOL_PACKAGES names packages that are installed."""
    return [
        checks.Warning(
            f"AGENT_TOOL_PACKAGES names {package}, and there is no such package.",
            hint="Its name as in an import; the folder that holds it must be on PYTHONPATH.",
            id="parley.W003",
        )
        for package in allowlist.missing_packages()
    ]


def tools() -> Result:
    """Each registered tool can be called."""
    from agents import toolbox  # with jsonschema behind it: doctor alone needs it

    return toolbox.tools()


def model() -> Result:
    """The model that answers, and whether agents that name one get it."""
    if settings.OPENAI_API_KEY or settings.OPENAI_BASE_URL:
        server = settings.OPENAI_BASE_URL or "api.openai.com"
        return Result("model", True, _("%(model)s at %(server)s") % {"model": settings.LLM_MODEL, "server": server})
    names = _named_without_a_key() if settings.PRODUCTION else []
    if names:
        detail = _("no key: by the built-in script answer %(agents)s") % {"agents": ", ".join(names[:5])}
        return Result("model", False, detail, _("Set OPENAI_API_KEY, or OPENAI_BASE_URL for a server of your own."))
    return Result("model", True, _("the built-in script (no OPENAI_API_KEY)"))


def _named_without_a_key() -> list[str]:
    """Agents whose published version names a model, which nobody can ask."""
    published = AgentVersion.objects.exclude(config__model=SCRIPTED).values_list("agent_id", "version")
    speaking = set(published)
    return [agent.name for agent in Agent.objects.active() if (agent.pk, agent.active_version) in speaking]
