"""Agents to ask, and requests to ask them with."""

from __future__ import annotations

from itertools import count
from typing import Any
from uuid import uuid4

from agents import allowlist, registry
from agents.config import parse
from agents.models import Agent, Tool
from agents.request import Request, Said
from agents.tools import TOOLS

numbers = count(1)


def an_agent(**config: Any) -> Agent:
    """A published agent of this configuration; the tools it names are switched on."""
    for name in config.get("tools", ()):
        register(name)
    name = f"tested-{next(numbers)}"
    agent = Agent.objects.create(name=name, config_path=f"{name}.toml", kind=config.setdefault("kind", "chat"))
    registry._write_version(agent, 1, parse(config), registry.Origin.FILE, "test")
    Agent.objects.filter(pk=agent.pk).update(active_version=1)
    agent.refresh_from_db()
    return agent


def shipped() -> None:
    """Import every tool that may be used."""
    for module_path in allowlist.modules():
        allowlist.load(module_path)


def register(name: str, **columns: Any) -> Tool:
    """The row of a tool that exists in the code."""
    shipped()
    known = TOOLS[name]
    values = {"module_path": known.module_path, "schema": known.schema, "description": known.description, **columns}
    return Tool.objects.update_or_create(name=name, defaults=values)[0]


def asked(agent: Agent | None, *burst: str, **values: Any) -> Request:
    """A turn's request, as the conversation would make it."""
    known: dict[str, Any] = {
        "turn_id": uuid4(),
        "conversation_id": uuid4(),
        "user_id": 7,
        "agent_id": agent.pk if agent else None,
        "interview_step": 0,
        "late": False,
        "history": [],
        "still_ours": lambda: True,
    }
    known |= values
    known["history"] = [Said(role, text) for role, text in known["history"]]
    return Request(burst=list(burst), **known)
