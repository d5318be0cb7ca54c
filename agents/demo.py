"""Agents to talk to at once: whatever the agents' folder holds."""

from __future__ import annotations

from agents import registry


def load(*, anyway: bool) -> str:  # noqa: ARG001  agents stand beside others without harm
    """Register what the files say; a second run changes nothing."""
    done = registry.sync(by="demo")
    return ", ".join(f"{one.config_path} {one.outcome}" for one in done) or "no config files"
