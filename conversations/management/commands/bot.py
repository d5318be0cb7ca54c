"""manage.py bot: serves one channel until it is stopped."""

from __future__ import annotations

import difflib
import os
import signal
from argparse import ArgumentParser
from typing import Any

import structlog
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import InterfaceError, OperationalError

from agents import registry
from agents.models import Agent
from agents.registry import AgentNotFoundError
from conversations.channels import SERVED, ChannelError, Order, channel

logger = structlog.get_logger(__name__)

TEMPORARY = 75  # sysexits' EX_TEMPFAIL: another start may succeed


class Command(BaseCommand):
    help = (
        "Serve a channel until SIGTERM or Ctrl+C. Exit codes: 0 stopped when asked, 1 something must be changed first, "
        "75 something is away and another start may succeed."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--channel", required=True, help=f"one of {', '.join(SERVED)}")
        parser.add_argument("--agent", default="", metavar="NAME", help="who answers (default: DEFAULT_AGENT)")
        parser.add_argument("--user-id", type=int, metavar="N", help="console: who is talking (default: your user id)")
        parser.add_argument("--login", action="store_true", help="mtproto: sign in, keep the session, and stop")

    def handle(self, *args: Any, channel: str, agent: str, user_id: int | None, login: bool, **options: Any) -> None:
        order = Order(channel, agent, user_id, login, ready=self._ready)
        try:
            self._run(order)
        except ChannelError as error:
            raise CommandError(str(error), returncode=1 if error.permanent else TEMPORARY) from error
        except (OperationalError, InterfaceError) as error:
            raise CommandError(_away(error), returncode=TEMPORARY) from error
        finally:
            order.stop.close()

    def _run(self, order: Order) -> None:
        if settings.DATABASE_POOL:
            raise CommandError("DATABASE_POOL is for the web process. Unset it here.")
        if order.user_id is not None and not -(2**63) <= order.user_id < 2**63:
            raise CommandError("--user-id is a number of at most 64 bits.")
        serve = channel(order.channel).runner()
        _check_agent(order)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, _frame: _asked(order, number))
        serve(order)

    def _ready(self, line: str) -> None:
        self.stderr.write(f"{line} (pid {os.getpid()}). Ctrl+C stops.")
        self.stderr.flush()


def _asked(order: Order, number: int) -> None:
    """The first signal asks, a second one ends."""
    signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.default_int_handler)
    order.stop.ask()


def _check_agent(order: Order) -> None:
    """A wrong name is found at once; without the database the runner decides whether it can begin."""
    try:
        _ = order.agent_id
    except AgentNotFoundError as error:
        registry.sync(by="bot")  # the file may be newer than the registry
        try:
            _ = order.agent_id
        except AgentNotFoundError:
            near = difflib.get_close_matches(order.agent, Agent.objects.active().values_list("name", flat=True), 1)
            raise CommandError(f"{error}{f' Did you mean {near[0]}?' if near else ''}") from error
    except (OperationalError, InterfaceError) as error:
        logger.warning("the database is away", reason=str(error).splitlines()[0])


def _away(error: Exception) -> str:
    said = (str(error).strip() or type(error).__name__).splitlines()[0]
    place = "the embedded server" if settings.EMBEDDED_DATABASE else "DATABASE_URL"
    return f"PostgreSQL does not answer ({place}): {said}. `manage.py doctor` tells more."
