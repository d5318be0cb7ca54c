"""A chat in the terminal: what was said, what is under way, and what is being waited for."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from django.db import DatabaseError, InterfaceError, connection
from django.utils.translation import gettext as _

from conversations import live, log
from conversations.channels import Order
from conversations.channels.console import commands, updates
from conversations.channels.console.following import Following
from conversations.channels.console.helper import Helper
from conversations.channels.console.transport import YOU, Screen
from conversations.commands import carry_out
from conversations.live import Happened
from conversations.log import Entry
from conversations.outage import NOBODY, AwayError, Outage, StoppedError

logger = structlog.get_logger(__name__)

SHOWN = 20  # messages of the conversation so far, when it goes on
LEAVES_WITHIN = 2.0  # seconds a line that is being stored may take when the person leaves
UNFINISHED = ("waiting", "running")

Event = tuple[str, Any]


@dataclass(frozen=True, slots=True)
class Standing:
    """A conversation as it was read, to be shown."""

    id: UUID
    entries: list[Entry]
    message_count: int
    skew: float


@dataclass
class Chat:
    """One terminal, one conversation. The main thread owns the screen; others tell it what happened."""

    order: Order
    screen: Screen
    helper: Helper
    outage: Outage
    name: str = ""
    id: UUID = NOBODY
    events: queue.SimpleQueue[Event] = field(default_factory=queue.SimpleQueue)
    jobs: queue.SimpleQueue[Callable[[], Event | None] | None] = field(default_factory=queue.SimpleQueue)
    state: dict[str, Any] = field(default_factory=dict)
    turns: dict[str, str] = field(default_factory=dict)
    seen: int = -1  # index of the last message on the screen
    mine: set[str] = field(default_factory=set)  # ids of messages that stand on the screen already
    under_way: int = 0  # lines that are not stored yet, and commands that are not carried out
    held: list[dict[str, Any]] = field(default_factory=list)  # messages that may be one of them
    following: Following | None = None
    skew: float = 0.0  # seconds the database's clock is ahead of ours; for showing only
    woken: int = -1  # the main thread's pipe
    wakes: int = -1

    # --- coming and going ---
    def open(self) -> None:
        """Find the conversation, show where it stands, and listen to it."""
        self._opened(self._look())

    def _look(self) -> Standing:
        found = updates.conversation(self.order)
        skew = (_database_time() - datetime.now().astimezone()).total_seconds()
        return Standing(found.id, log.history(found.id, limit=SHOWN), found.message_count, skew)

    def _opened(self, standing: Standing) -> None:
        self.id, self.turns, self.state, self.skew = standing.id, {}, {}, standing.skew
        if self.screen.labels:
            self._show_all(standing.entries)
        self.seen = standing.message_count - 1
        self.follow()

    def follow(self) -> None:
        if self.following is not None:
            self.following.stop()
        self.following = Following(self.id, self.seen, self._happened)

    @contextmanager
    def opened(self) -> Iterator[None]:
        """The conversation on the screen and the threads at work, for the length of the block."""
        self.woken, self.wakes = os.pipe()
        storing = threading.Thread(target=self.work, name="storing", daemon=True)
        try:
            self.open()
            storing.start()
            yield
        finally:
            if self.following is not None:
                self.following.stop()
            if storing.is_alive():
                self.jobs.put(None)
                storing.join(LEAVES_WITHIN)
            os.close(self.woken)
            os.close(self.wakes)

    def say(self, line: str) -> None:
        """Hand a line over to be stored; it is shown at once."""
        if self.screen.editor is not None:  # other terminals have shown it themselves
            self.screen.say(str(YOU), line)
        self._order(partial(self._store, updates.written(line)))

    def _order(self, job: Callable[[], Event]) -> None:
        """Behind the lines that were entered before."""
        self.under_way += 1
        self.jobs.put(job)

    def enter(self, line: str) -> bool:
        """One line was finished; False where it was the last."""
        if not line.strip():
            return True
        match commands.read(line):
            case None:
                self.say(line)
            case "quit" | "exit":
                return False
            case "help" | "start":
                self.screen.note(str(commands.HELP))
            case "history":
                self._order(partial(self._carry_out, "history", partial(log.history, self.id)))
            case "reset":
                self._order(partial(self._carry_out, "begun anew", partial(self._start_over, self.id)))
            case other:
                self.screen.note(
                    _("There is no command /%(given)s. There are: %(known)s.")
                    % {"given": other, "known": ", ".join(f"/{name}" for name in commands.COMMANDS)}
                )
        return True

    def sign(self) -> None:
        """The person is writing; the burst waits on."""
        if not self.under_way and not self.outage.standing_in and self.jobs.empty():
            self.jobs.put(partial(_sign, self.id))

    def look_for_worker(self) -> None:
        """Not while the storing thread has something to do: a database that hangs lets each look take seconds."""
        if not self.under_way and not self.outage.standing_in and self.jobs.empty():
            self.jobs.put(lambda: ("no worker", None) if self.helper.needed() else None)

    # --- in the thread that stores ---
    def work(self) -> None:
        """One job after the other, so that lines keep their order."""
        try:
            while (job := self.jobs.get()) is not None:
                try:
                    if (event := job()) is not None:
                        self.tell(event)
                except (DatabaseError, InterfaceError):
                    connection.close()
        finally:
            connection.close()

    def _store(self, update: dict[str, Any]) -> Event:
        try:
            received = self.outage.handle(update, key=update["id"])
        except StoppedError:
            return ("not stored", _("It was not stored: the database is away."))
        except Exception as error:
            logger.error("line refused", reason=type(error).__name__, exc_info=error)
            return ("not stored", _("It was not stored: %s") % error)
        return ("stored", received and str(received.entry.id))

    def _carry_out(self, name: str, verb: Callable[[], Any]) -> Event:
        try:
            return (name, self.outage.ask(verb))
        except (AwayError, StoppedError):
            return ("not done", _("It was not done: the database is away."))
        except Exception as error:
            logger.error("command refused", command=name, reason=type(error).__name__, exc_info=error)
            return ("not done", _("It was not done: %s") % error)

    def _start_over(self, conversation_id: UUID) -> Standing:
        """Once, however often it is tried: afterwards another conversation is the live one."""
        if updates.conversation(self.order).id == conversation_id:
            carry_out(conversation_id, "reset", by=f"console {updates.who(self.order)}")
        return self._look()

    def _happened(self, happened: Happened) -> None:
        self.tell((happened.name, happened.data))

    def tell(self, event: Event) -> None:
        self.events.put(event)
        with suppress(OSError):  # nobody may be listening any more
            os.write(self.wakes, b"!")

    # --- in the main thread: what happened ---
    def catch_up(self) -> None:
        """Show everything that has happened since."""
        while True:
            try:
                name, data = self.events.get_nowait()
            except queue.Empty:
                break
            self._caught(name, data)
        if not self.under_way:
            for message in self.held:
                self._message(message)
            self.held.clear()

    def _caught(self, name: str, data: Any) -> None:
        match name:
            case "stored":
                self.under_way -= 1
                if data:
                    self.mine.add(data)
            case "not stored" | "not done":
                self.under_way -= 1
                self.screen.note(data)
            case "history":
                self.under_way -= 1
                self._show_all(data)
            case "begun anew":
                self.under_way -= 1
                self.held.clear()  # they are of the conversation before
                self._opened(data)
            case "message":
                self.held.append(data)
            case "turn":
                self.turns[data["id"]] = data["status"]
            case "no worker":
                self.helper.start()
            case "broken":
                self.follow()
            case "session" | "burst":
                self.state |= data

    def _message(self, message: dict[str, Any]) -> None:
        self.seen = max(self.seen, message["message_index"])
        if str(message["id"]) in self.mine or message["metadata"].get("journal") in self.outage.journals:
            return  # it stands there already: said here, or in an outage by this process
        self._show(message["role"], message["content"], message["author"])

    def _show_all(self, entries: list[Entry]) -> None:
        for entry in entries:
            self._show(entry.role, entry.content, entry.author)

    def _show(self, role: str, content: str, author: str) -> None:
        if role == "assistant":
            self.screen.say(author or self.name, content)
        elif role == "user" and self.screen.labels:
            self.screen.say(str(YOU), content)

    # --- what is being waited for ---
    def is_over(self) -> bool:
        """Is nothing left to be answered or shown? Asked of the database, once nothing is seen to be under way."""
        if self.under_way or self.held or self._running:
            return False
        if self.outage.standing_in:
            return not self.outage.owes
        try:
            state = live.look([self.id]).get(self.id)
        except (DatabaseError, InterfaceError):
            connection.close()
            return False
        if state is None:
            return True  # erased meanwhile
        unfinished = any(turn["status"] in UNFINISHED for turn in state.turns)
        return not state.bursts and not unfinished and self.seen >= state.message_count - 1

    @property
    def _running(self) -> bool:
        return any(status in UNFINISHED for status in self.turns.values())

    def status(self) -> str:
        if self.outage.standing_in:
            return _("no database")
        if self.state.get("mode") == "manual":
            return _("staff answer")
        if self._running:
            return _("thinking")
        bursts = self.state.get("bursts") or []
        if bursts:
            due = max(datetime.fromisoformat(burst["flush_at"]) for burst in bursts)
            left = (due - datetime.now().astimezone()).total_seconds() - self.skew
            return _("listening %d s") % max(0, round(left)) if left < 1000 else _("listening")
        return ""


def _sign(conversation_id: UUID) -> None:
    updates.still_writing(conversation_id)


def _database_time() -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now
