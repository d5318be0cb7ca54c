"""Ways to reach a person: one folder each, with the same file names, and one line in the list below.

`updates` turns what the foreign side tells into our verbs, `transport` sends one part, `commands` knows `/start` and
its like, `runner` is the loop of `manage.py bot --channel NAME`. Nothing of a channel is imported before it is used:
what it runs on may be large, and may not be installed.
"""

from __future__ import annotations

import difflib
import os
import select
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from typing import Any, Protocol
from uuid import UUID

from django.utils.functional import Promise
from django.utils.module_loading import import_string
from django.utils.translation import gettext_lazy as _

from agents import registry
from conversations.errors import ConversationError


class ChannelError(ConversationError):
    """The channel cannot do this."""


class UnknownChannelError(ChannelError):
    """There is no such channel."""


class ChannelUnavailableError(ChannelError):
    """The channel is there, and something it needs is not; the text says what to do."""


class ChannelAwayError(ChannelError):
    """The other side, or our database, does not answer: another start may succeed."""

    permanent = False


# --- what a channel is told, and what it answers ---


@dataclass(frozen=True, slots=True)
class Address:
    """Where a conversation's person is; `metadata` is the conversation's, where a channel keeps what else it needs."""

    chat_id: int | None
    user_id: int
    conversation_id: UUID
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sent:
    """The other side has it, under this id."""

    external_id: str


@dataclass(frozen=True, slots=True)
class Refused:
    """It will never take it; `gone` where it takes nothing for this person any more (blocked, deleted)."""

    reason: str
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Later:
    """It surely does not have it, or would know a repeat of the key: try again, after so many seconds at the least.

    `everybody` where the other side refuses all we send and not only what goes to this person.
    """

    after: float
    reason: str
    everybody: bool = False


@dataclass(frozen=True, slots=True)
class Lost:
    """The answer was lost: nobody here knows whether it has it."""

    reason: str


Result = Sent | Refused | Later | Lost


class Transport(Protocol):
    """Sends one part. What is expected to go wrong is a value; whatever it raises is a bug."""

    limit: int  # UTF-16 units a part may have

    def send(self, address: Address, text: str, *, key: str) -> Result:
        """Hand over the text as it is; `key` is the same for every attempt at the same part."""

    def show_typing(self, address: Address) -> None:
        """Let the person see, for some seconds, that an answer is being written; failing is no news."""


# --- what the operator asks of a runner ---


class Stop:
    """Asked for by a signal, waited for by loops. A pipe and no lock: a signal's handler may run at any instruction."""

    def __init__(self) -> None:
        self.asked = False
        self._woken, self._wakes = os.pipe()
        self._listeners: list[Callable[[], object]] = []

    def ask(self, *_: object) -> None:
        """Also fit to be a signal's handler."""
        self.asked = True
        os.write(self._wakes, b"!")
        for listener in self._listeners:
            listener()

    def wait(self, seconds: float | None = None) -> bool:
        """Rest, but for no longer than until somebody asks; says whether somebody has."""
        select.select([self._woken], [], [], seconds)
        return self.asked

    def tell(self, listener: Callable[[], object]) -> None:
        """For loops that cannot wait here: `stop.tell(lambda: loop.call_soon_threadsafe(event.set))`."""
        self._listeners.append(listener)
        if self.asked:
            listener()

    def fileno(self) -> int:
        """Readable once somebody has asked."""
        return self._woken

    def close(self) -> None:
        os.close(self._woken)
        os.close(self._wakes)


@dataclass
class Order:
    """One run of `manage.py bot`."""

    channel: str
    agent: str = ""  # the name that was given; empty: DEFAULT_AGENT, whoever that is when a turn runs
    user_id: int | None = None  # the person at the console
    login: bool = False  # sign in and nothing else, where a channel needs that
    stop: Stop = field(default_factory=Stop)
    ready: Callable[[str], None] = lambda _line: None  # called once, when updates are being received

    @cached_property
    def agent_id(self) -> UUID | None:
        """Whose new conversations are; looked up when it is first asked for, which may be after an outage."""
        return registry.find(self.agent).id if self.agent else None


Runner = Callable[[Order], None]  # returns when it was asked to stop, or when there is nothing more to do


# --- the list ---


@dataclass(frozen=True, slots=True)
class Channel:
    """One way to reach a person, by dotted paths: looked up when it is used."""

    name: str
    label: str | Promise
    folder: str = ""  # below this package; none: other code serves it (HTTP, the web page)
    pushes: bool = False  # answers are handed over by a transport; else the client reads the log itself
    by_runner: bool = False  # only its bot has the session to send with (`delivering.serve`), no worker
    needs: tuple[str, ...] = ()  # modules that are not always installed
    install: str = ""  # how to get them

    def transport(self) -> Transport:
        """Its one transport for this process, made by `transport.connect`."""
        if not self.pushes:
            raise ChannelUnavailableError(f"Nothing is sent through {self.name}: its clients read the log themselves.")
        made: Transport = self._part("transport.connect")()
        return made

    def runner(self) -> Runner:
        """Its loop, `runner.run`."""
        if not self.folder:
            raise ChannelUnavailableError(f"No bot serves {self.name}: the web process does.")
        loop: Runner = self._part("runner.run")
        return loop

    def _part(self, name: str) -> Any:
        missing = [module for module in self.needs if find_spec(module) is None]
        if missing:
            raise ChannelUnavailableError(
                f"The channel {self.name} needs {', '.join(missing)}, which is not installed: {self.install}"
            )
        return import_string(f"{__name__}.{self.folder}.{name}")


CHANNELS: dict[str, Channel] = {
    channel.name: channel
    for channel in (
        Channel("api", _("HTTP API")),
        Channel("web", _("web page")),
        Channel("demo", _("demonstration")),  # nobody is at the other end of these two: what is said stays here
        Channel("import", _("imported")),
        Channel("console", _("terminal"), "console"),
        Channel("telegram", _("Telegram bot"), "telegram", pushes=True, needs=("telegram",), install="make install"),
        Channel(
            "mtproto", _("Telegram user account"), "mtproto", pushes=True, by_runner=True, needs=("telethon",),
            install="pip install --require-hashes -r requirements-mtproto.txt",
        ),
    )
}  # fmt: skip
PULLED = tuple(channel.name for channel in CHANNELS.values() if not channel.pushes)  # stored is delivered
SERVED = tuple(channel.name for channel in CHANNELS.values() if channel.folder)  # `bot --channel` takes these


def channel(name: str) -> Channel:
    """The channel of that name; the error names those there are."""
    try:
        return CHANNELS[name]
    except KeyError:
        near = difflib.get_close_matches(name, CHANNELS, 1)
        guess = f" Did you mean {near[0]}?" if near else ""
        raise UnknownChannelError(
            f"There is no channel {name[:100]!r}.{guess} There are: {', '.join(CHANNELS)}."
        ) from None
