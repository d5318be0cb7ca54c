"""Agents and their versions: found in files, saved, published, rolled back, compared, looked up for a turn.

A version never changes; what changes is which one speaks. Every change is on record, in the same transaction.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any, NamedTuple
from uuid import UUID

import structlog
from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.utils.translation import gettext as _

from agents import audit, files, toolbox
from agents.config import AgentConfig, ConfigInvalidError, as_text, parse
from agents.models import Agent, AgentVersion, Origin, Tool
from config.columns import clock

log = structlog.get_logger(__name__)


class RegistryError(Exception):
    """The registry refuses this."""

    permanent = True


class AgentNotFoundError(RegistryError):
    """There is no such agent, or it takes no new conversations."""


class VersionNotFoundError(RegistryError):
    """The agent has no such version."""


class Speaking(NamedTuple):
    """What answers a turn."""

    config: AgentConfig
    version: int
    agent: Agent


@dataclass(frozen=True, slots=True)
class Synced:
    """What became of one config file: created, updated, waiting (staff chose another version), unchanged, invalid."""

    config_path: str
    outcome: str
    version: int | None = None
    problems: tuple[str, ...] = ()


# --- looked up ---


def version_for(agent_id: UUID | None, pinned: int | None = None) -> Speaking:
    """What answers for this agent: the pinned version, else the active one; without an agent, the default agent's."""
    agent = default_agent() if agent_id is None else _agent(agent_id)
    number = pinned if pinned is not None and agent_id is not None else agent.active_version
    if number is None:
        raise VersionNotFoundError(f"Nothing is published for the agent {agent}.")
    return Speaking(_said_by(agent.pk, number), number, agent)


@lru_cache(maxsize=1024)
def _said_by(agent_id: UUID, number: int) -> AgentConfig:
    """What a version says. It never changes, so a process reads it once."""
    return parse(version(_agent(agent_id), number).config)


def version(agent: Agent, number: int) -> AgentVersion:
    """One version of the agent."""
    found = AgentVersion.objects.filter(agent=agent, version=number).first()
    if found is None:
        raise VersionNotFoundError(f"The agent {agent} has no version {number}.")
    return found


def find(name: str) -> Agent:
    """The agent of that name, if it takes new conversations."""
    agent = Agent.objects.active().filter(name=name).first() or _read_at_first_use(name)
    if agent is None:
        known = ", ".join(Agent.objects.active().values_list("name", flat=True)) or "none"
        raise AgentNotFoundError(f"No agent {name[:100]!r} takes conversations; those that do: {known}.")
    return agent


def default_agent() -> Agent:
    """Agent that answers where nobody was named: DEFAULT_AGENT."""
    return find(settings.DEFAULT_AGENT)


# --- changed ---


def sync(*, by: str) -> list[Synced]:
    """Bring the registry up to the files; a second run changes nothing, a broken file stops no other."""
    return [_sync_one(path, by=by) for path in files.found()]


def create(name: str, config_path: str, *, by: str, config: AgentConfig | None = None) -> Agent:
    """Register an agent and publish what its file says as version 1."""
    files.checked(config_path)
    known = config or files.read(config_path)
    _refuse_unknown_tools(known)
    with transaction.atomic():
        agent = Agent.objects.create(
            name=name, description=known.description, kind=known.kind, config_path=config_path, created_by=by
        )
        _write_version(agent, 1, known, Origin.FILE, by)
        Agent.objects.filter(pk=agent.pk).update(active_version=1)
        audit.record("agent.create", by, ("agent", name), {"config_path": config_path}, after={"version": 1})
    agent.refresh_from_db()
    return agent


def save_version(
    agent: Agent, config: AgentConfig | str | Mapping[str, Any], *, by: str, origin: Origin = Origin.STAFF
) -> AgentVersion:
    """Keep a configuration as the agent's next version; it speaks once it is published."""
    known = config if isinstance(config, AgentConfig) else parse(config)
    _refuse_unknown_tools(known)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(  # the counter in the agent's row: two who save at once get two numbers
            "UPDATE agents SET version = version + 1, updated_at = clock_timestamp() WHERE id = %s RETURNING version",
            [agent.pk],
        )
        number = cursor.fetchone()[0]
        saved = _write_version(agent, number, known, origin, by)
        audit.record("agent.save_version", by, ("agent", agent.name), {"origin": origin}, after={"version": number})
    agent.version = number
    return saved


def publish(agent: Agent, number: int, *, by: str, action: str = "agent.publish") -> Agent:
    """Let this version speak from the next turn on; respondents in the middle of an interview keep theirs."""
    with transaction.atomic():
        locked = Agent.objects.select_for_update(no_key=True).get(pk=agent.pk)
        config = parse(version(locked, number).config)
        _refuse_unknown_tools(config)
        if locked.active_version != number:
            Agent.objects.filter(pk=agent.pk).update(
                active_version=number, kind=config.kind, description=config.description, updated_at=clock()
            )
            audit.record(
                action, by, ("agent", agent.name), before={"version": locked.active_version}, after={"version": number}
            )
    agent.refresh_from_db()
    return agent


def rollback(agent: Agent, *, by: str) -> Agent:
    """Publish the newest version that is older than the active one."""
    with transaction.atomic():
        active = Agent.objects.select_for_update(no_key=True).get(pk=agent.pk).active_version or 0
        older = AgentVersion.objects.filter(agent=agent, version__lt=active).order_by("-version").first()
        if older is None:
            raise VersionNotFoundError(f"The agent {agent} has no version before {active}.")
        return publish(agent, older.version, by=by, action="agent.rollback")


def switch(agent: Agent, *, on: bool, by: str) -> bool:
    """Take new conversations or none; those that go on are answered either way. False where nothing changed."""
    with transaction.atomic():
        changed = Agent.objects.filter(pk=agent.pk, is_active=not on).update(is_active=on, updated_at=clock())
        if changed:
            audit.record("agent.switch", by, ("agent", agent.name), before={"active": not on}, after={"active": on})
    return bool(changed)


def diff(a: AgentVersion, b: AgentVersion) -> list[str]:
    """What changed from one version to the other, line by line, as `diff -u` shows it; empty where nothing did."""
    return list(
        difflib.unified_diff(
            as_text(a.config).splitlines(),
            as_text(b.config).splitlines(),
            f"{a.agent.name} {a.version}",
            f"{b.agent.name} {b.version}",
            lineterm="",
        )
    )


# --- helpers ---


def _read_at_first_use(name: str) -> Agent | None:
    """Register the agent whose file nobody has synced yet; one that staff switched off stays off."""
    if f"{name}.toml" not in files.found() or Agent.objects.filter(name=name).exists():
        return None
    _sync_one(f"{name}.toml", by="system")
    return Agent.objects.active().filter(name=name).first()


def _agent(agent_id: UUID) -> Agent:
    agent = Agent.objects.filter(pk=agent_id).first()
    if agent is None:
        raise AgentNotFoundError(f"There is no agent {agent_id}.")
    return agent


def _sync_one(config_path: str, *, by: str) -> Synced:
    try:
        config = files.read(config_path)
        _refuse_unknown_tools(config)
    except ConfigInvalidError as error:
        log.warning("config file refused", config_path=config_path, problems=error.problems)
        return Synced(config_path, "invalid", problems=tuple(error.problems))
    try:
        with transaction.atomic():
            return _bring_up(config_path, config, by=by)
    except IntegrityError:  # another process registers it at this very moment: it is there now
        return _bring_up(config_path, config, by=by)


@transaction.atomic
def _bring_up(config_path: str, config: AgentConfig, *, by: str) -> Synced:
    """A changed file is published, unless staff have chosen a version of their own: then it waits for them."""
    agent = Agent.objects.select_for_update(no_key=True).filter(config_path=config_path).first()
    if agent is None:
        create(PurePosixPath(config_path).stem, config_path, by=by, config=config)
        return Synced(config_path, "created", 1)
    newest = agent.versions.filter(origin=Origin.FILE).order_by("-version").first()
    if newest is not None and newest.config == config.as_json():
        return Synced(config_path, "unchanged", newest.version)
    saved = save_version(agent, config, by=by, origin=Origin.FILE)
    if newest is not None and agent.active_version != newest.version:
        return Synced(config_path, "waiting", saved.version)
    publish(agent, saved.version, by=by)
    return Synced(config_path, "updated", saved.version)


def _write_version(agent: Agent, number: int, config: AgentConfig, origin: Origin, by: str) -> AgentVersion:
    return AgentVersion.objects.create(
        agent=agent, version=number, config=config.as_json(), origin=origin, created_by=by
    )


def _refuse_unknown_tools(config: AgentConfig) -> None:
    """Only registered tools may be named: a typing mistake is found now and not in the middle of a conversation."""
    known = set(Tool.objects.values_list("name", flat=True))
    if not known.issuperset(config.tools):
        known |= {tool.name for tool in toolbox.ship(by="system")}  # those of the code are registered when first named
    missing = [name for name in config.tools if name not in known]
    if missing:
        named = {"missing": ", ".join(missing), "known": ", ".join(sorted(known)) or _("none")}
        raise ConfigInvalidError([_("tools: there is no tool %(missing)s; registered: %(known)s.") % named])
