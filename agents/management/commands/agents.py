"""`manage.py agents`: bring the registry up to the files, look at it, publish and roll back."""

import getpass
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from agents import registry, toolbox
from agents.config import ConfigInvalidError, as_text
from agents.models import Agent


class Command(BaseCommand):
    help = "Syncs agents from their config files, lists and shows them, publishes and rolls back versions."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        actions.add_parser("sync", help="make agents and versions of new and changed files")
        actions.add_parser("list", help="every agent with its versions")
        show = actions.add_parser("show", help="a version's configuration, or what changed since another")
        show.add_argument("name")
        show.add_argument("--version", type=int, dest="number", help="default: the active one")
        show.add_argument("--against", type=int, help="show what changed since this version")
        publish = actions.add_parser("publish", help="let a version speak")
        publish.add_argument("name")
        publish.add_argument("number", type=int)
        rollback = actions.add_parser("rollback", help="publish the version before the active one")
        rollback.add_argument("name")

    def handle(self, *, action: str, **options: Any) -> None:
        try:
            getattr(self, action)(by=f"cli:{getpass.getuser()}", **options)
        except (registry.RegistryError, ConfigInvalidError) as error:
            raise CommandError(str(error)) from error

    def sync(self, *, by: str, **_options: Any) -> None:
        for tool in toolbox.ship(by=by):
            self.stdout.write(f"{tool.name:40} registered, from {tool.module_path}")
        for problem in toolbox.problems():
            self.stderr.write(f"tool not usable: {problem}")
        done = registry.sync(by=by)
        for one in done:
            number = f" version {one.version}" if one.version else ""
            self.stdout.write(f"{one.config_path:40} {one.outcome}{number}")
            for problem in one.problems:
                self.stdout.write(f"    {problem}")
        waiting = [one for one in done if one.outcome == "waiting"]
        if waiting:
            self.stdout.write("Staff chose another version of what is waiting; `agents publish` lets it speak.")
        if any(one.outcome == "invalid" for one in done):
            raise CommandError("Some files were refused; the agents they belong to stay as they were.")

    def list(self, **_options: Any) -> None:
        for agent in Agent.objects.all():
            state = "active" if agent.is_active else "off"
            speaks = f"version {agent.active_version} of {agent.version}"
            self.stdout.write(f"{agent.name:24} {agent.kind:10} {state:7} {speaks:18} {agent.config_path}")

    def show(self, *, name: str, number: int | None, against: int | None, **_options: Any) -> None:
        agent = _named(name)
        shown = registry.version(agent, number or agent.active_version or 0)
        if against is None:
            self.stdout.write(f"# {agent.name}, version {shown.version} of {shown.created_at:%Y-%m-%d %H:%M}")
            self.stdout.write(as_text(shown.config))
        else:
            self.stdout.write("\n".join(registry.diff(registry.version(agent, against), shown)) or "No difference.")

    def publish(self, *, name: str, number: int, by: str, **_options: Any) -> None:
        self.stdout.write(f"{name} speaks by version {registry.publish(_named(name), number, by=by).active_version}.")

    def rollback(self, *, name: str, by: str, **_options: Any) -> None:
        self.stdout.write(f"{name} speaks by version {registry.rollback(_named(name), by=by).active_version}.")


def _named(name: str) -> Agent:
    agent = Agent.objects.filter(name=name).first()
    if agent is None:
        known = ", ".join(Agent.objects.values_list("name", flat=True)) or "none; run `manage.py agents sync`"
        raise CommandError(f"There is no agent {name}; known: {known}.")
    return agent
