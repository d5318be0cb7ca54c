"""A bot's life without its database: wait, then answer from memory into a journal, then store what was said.

`handle` returns once an update is safe: committed, or on the disk. While the journal holds anything, every update goes
through it, so that the order is kept; a thread answers what was quiet long enough, looks for the database, and puts
the journal into it before anything else may reach it.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection

from agents import offline
from agents.errors import AgentError
from config.crash import crash_point
from conversations import parts, replaying
from conversations.burst import Window, command_in, is_blank
from conversations.channels import Address, Later, Lost, Order, Refused, Result, Sent, Transport
from conversations.journal import Journal, JournalFullError
from conversations.replaying import Heard, is_away

__all__ = ["AwayError", "Heard", "Outage", "StoppedError", "is_away"]

logger = structlog.get_logger(__name__)

PROBE_EVERY = 2.0  # seconds between two looks for the database
BACKOFF = (0.2, 0.5, 1.0, 2.0, 5.0)  # seconds between attempts to store an update; the last one repeats
TICK = 0.1  # seconds between two looks at what was quiet long enough
TELL_EVERY = 60.0  # seconds between two loud lines in the log
KNOWN_HOLDS = 60.0  # seconds after which the agent is looked up again, to be known when the outage comes
LONGEST_WAIT = 30.0  # seconds we obey a transport's "later" here; beyond, the answer waits for the database
NOBODY = UUID(int=0)  # without the database no conversation has its id

Answer = TypeVar("Answer")
Update = dict[str, Any]  # as the channel got it; must survive JSON


class StoppedError(Exception):
    """The bot was asked to stop before the update was safe: the other side must keep it."""


class AwayError(Exception):
    """The database is away for longer than the bot's patience: what was asked of it was not done."""


@dataclass
class Burst:
    """What one person said in the outage and has no answer yet."""

    numbers: list[int]
    said: list[Heard]
    first: float
    due: float


@dataclass
class Outage:
    """One per running bot; use it as a context manager."""

    order: Order
    account: str
    take: Callable[[Update], object]  # the normal way: our verbs, idempotent, in their own transactions
    heard: Callable[[Update], Heard | None]  # what a person said, where that is what the update is about
    place: Callable[[Update], UUID]  # the conversation it belongs to, opened if need be; in the caller's transaction
    transport: Callable[[], Transport]
    journals: set[str] = field(default_factory=set)  # those this process began: it has shown what is in them
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _over: threading.Event = field(default_factory=threading.Event)
    _away_since: float | None = None
    _thread: threading.Thread | None = None
    _bursts: dict[tuple[int | None, int], Burst] = field(default_factory=dict)
    _keys: set[str] = field(default_factory=set)
    _known: tuple[float, offline.Known] | None = None
    _told: float = 0.0
    _answering: bool = False

    def __enter__(self) -> Outage:
        self.journal = Journal(self.order.channel, self.account)
        self._remember_agent()
        if not self.journal.is_empty:
            logger.warning("a journal waits to be stored", journal=str(self.journal.id))
            self._reload()
            self._stand_in()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        self.journal.close()

    @property
    def standing_in(self) -> bool:
        """Does this bot answer without its database just now?"""
        return not self.journal.is_empty

    @property
    def owes(self) -> bool:
        """Is there an answer to come before the database is back?"""
        return bool(self._bursts) or self._answering

    def handle(self, update: Update, *, key: str) -> Any:
        """Keep the update safe, however long that takes; what `take` returned, or None where the journal has it.

        Raises StoppedError where the bot was asked to stop first, and whatever `take` raises that is no outage.
        """
        for delay in _delays():
            with self._lock:
                tried_at = time.monotonic()
                try:
                    if not self.standing_in:
                        return self._live(update)
                    return self._keep(update, key)
                except JournalFullError as error:
                    logger.error("the update waits outside", reason=str(error))
                except (DatabaseError, InterfaceError) as error:
                    if not is_away(error):
                        raise
                    if self._patience_is_over(error, tried_at) and self._begin(update, key):
                        return None
            if self.order.stop.wait(delay):
                raise StoppedError
        raise AssertionError("delays never end")

    def ask(self, verb: Callable[[], Answer]) -> Answer:
        """Do what needs the database and is no update: tried again until patience is over, so it must be idempotent.

        Raises AwayError or StoppedError where it was not done, and whatever the verb raises that is no outage.
        """
        for delay in _delays():
            with self._lock:
                if self.standing_in:
                    raise AwayError
                tried_at = time.monotonic()
                try:
                    answer = verb()
                except (DatabaseError, InterfaceError) as error:
                    if not is_away(error):
                        raise
                    if self._patience_is_over(error, tried_at):
                        raise AwayError from error
                else:
                    self._away_since = None
                    return answer
            if self.order.stop.wait(delay):
                raise StoppedError
        raise AssertionError("delays never end")

    # --- with the database ---
    def _live(self, update: Update) -> Any:
        result = self.take(update)
        self._away_since = None
        if self._known is None or time.monotonic() - self._known[0] > KNOWN_HOLDS:
            self._remember_agent()
        return result

    def _remember_agent(self) -> None:
        try:
            self._known = time.monotonic(), offline.known(self.order.agent)
        except AgentError as error:
            logger.warning("no agent for an outage", reason=str(error))

    def _patience_is_over(self, error: Exception, tried_at: float) -> bool:
        """Counted from the beginning of the first attempt: where the database hangs, that alone takes its time."""
        connection.close()
        if self._away_since is None:
            self._away_since = tried_at
            logger.warning("the database is away, updates wait", reason=str(error).strip().partition("\n")[0])
        return time.monotonic() - self._away_since >= settings.BOT_OUTAGE_PATIENCE

    # --- without it ---
    def _begin(self, update: Update, key: str) -> bool:
        logger.error("ANSWERING WITHOUT THE DATABASE", channel=self.order.channel, account=self.account)
        self._told = time.monotonic()
        try:
            self._keep(update, key)
        except JournalFullError as error:
            logger.error("the update waits outside", reason=str(error))
            return False
        self.journals.add(str(self.journal.id))
        self._stand_in()
        return True

    def _keep(self, update: Update, key: str) -> None:
        """On the disk, once, and into the burst of who said it."""
        if key in self._keys:
            return
        heard = self.heard(update)
        number = len(self._keys)
        at = datetime.now(UTC).isoformat()
        said = asdict(heard) if heard else None
        self.journal.write({"kind": "update", "n": number, "key": key, "at": at, "update": update, "heard": said})
        self._keys.add(key)
        if heard is not None and wants_answer(heard):
            self._add(number, heard)

    def _add(self, number: int, heard: Heard, *, at_once: bool = False) -> None:
        now, window = time.monotonic(), Window.configured(self._known[1].config.debounce if self._known else None)
        quiet = 0.0 if at_once else window.quiet_after(heard.content, heard.metadata).total_seconds()
        burst = self._bursts.setdefault((heard.chat_id, heard.user_id), Burst([], [], now, now))
        burst.numbers.append(number)
        burst.said.append(heard)
        burst.due = min(burst.first + window.max_wait.total_seconds(), now + quiet)

    def _reload(self) -> None:
        """What a process before us heard: answered and given up bursts are done, the rest is due."""
        updates = [record for record in self.journal.records if record["kind"] == "update"]
        self._keys = {record["key"] for record in updates}
        done = {n for record in self.journal.records if record["kind"] in ("answer", "left") for n in record["burst"]}
        for record in updates:
            heard = Heard(**record["heard"]) if record["heard"] else None
            if heard is not None and record["n"] not in done and wants_answer(heard):
                self._add(record["n"], heard, at_once=True)

    def _stand_in(self) -> None:
        self._thread = threading.Thread(target=self._work, name="outage", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        """Until the database is back and has everything, or the bot stops."""
        probed = 0.0
        try:
            while not self._over.wait(TICK):
                if time.monotonic() - probed >= PROBE_EVERY:
                    if self._database_is_back() and self._replay():
                        return
                    probed = time.monotonic()
                self._answer_due()
                self._tell()
        except Exception as error:
            logger.critical("the outage's thread broke; the journal is stored at the next start", exc_info=error)
        finally:
            connection.close()

    def _answer_due(self) -> None:
        now = time.monotonic()
        with self._lock:
            due = [person for person, burst in self._bursts.items() if burst.due <= now]
            bursts = [self._bursts.pop(person) for person in due]
            self._answering = bool(bursts)
        for burst in bursts:
            if not self._over.is_set():  # else the journal knows it
                self._answer(burst)
        self._answering = False

    def _answer(self, burst: Burst) -> None:
        """Ask the agent, write down what it says, then send it: a crash in between leaves an honest `unknown`."""
        last = burst.said[-1]
        address = Address(last.chat_id, last.user_id, NOBODY, last.where)
        transport = self.transport()
        transport.show_typing(address)
        try:
            agent = self._known[1] if self._known else offline.known(self.order.agent)
            said = [heard.content for heard in burst.said]
            text = offline.answer(agent, said, still_ours=lambda: not self._over.is_set())
        except Exception as error:  # whatever it is, the database's return must not wait for it
            if self._over.is_set():
                return  # the bot stops; its next start finds the burst in the journal
            logger.error("no answer in the outage; it will come after it", reason=type(error).__name__, exc_info=error)
            self._write({"kind": "left", "burst": burst.numbers, "reason": f"{type(error).__name__}: {error}"[:500]})
            return
        places = parts.cut(text, transport.limit)
        number = burst.numbers[0]
        record = {"kind": "answer", "burst": burst.numbers, "text": text, "parts": places, "at": _now()}
        if not self._write({**record, "agent": agent.name, "version": agent.version}):
            return
        crash_point("before_outage_send")
        for part, (begins, ends) in enumerate(places):
            result = self._send(transport, address, text[begins:ends], [str(self.journal.id), number, part])
            crash_point("after_outage_send")
            self._write({"kind": "sent", "of": number, "part": part, **_told_as(result)})
            if not isinstance(result, Sent):
                break

    def _send(self, transport: Transport, address: Address, text: str, key: list[Any]) -> Result:
        """Once more where that is surely no repeat; what cannot be sent now is sent when the database is back."""
        try:
            result = transport.send(address, text, key=json.dumps(key))
            if isinstance(result, Later) and result.after <= LONGEST_WAIT and not self._over.wait(result.after):
                result = transport.send(address, text, key=json.dumps(key))
        except Exception as error:
            logger.error("sending broke", exc_info=error)
            return Lost(f"{type(error).__name__}: {error}"[:500])
        return result

    def _write(self, record: dict[str, Any]) -> bool:
        try:
            with self._lock:
                self.journal.write(record)
        except JournalFullError as error:
            logger.error("not written down", kind=record["kind"], reason=str(error))
            return False
        return True

    # --- when it is back ---
    def _database_is_back(self) -> bool:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_is_in_recovery()")
                return not cursor.fetchone()[0]
        except (DatabaseError, InterfaceError):
            connection.close()
            return False

    def _replay(self) -> bool:
        """Everything in order, while no update may pass; False where the database went away again."""
        with self._lock:
            try:
                done = replaying.store(self.journal, self.take, self.place)
            except (DatabaseError, InterfaceError) as error:
                connection.close()
                logger.error("the journal is not stored yet", reason=type(error).__name__, exc_info=error)
                return False
            logger.error("the database is back", **done.as_told())
            self.journal.clear()
            self._keys.clear()
            self._bursts.clear()
            self._away_since = None
            return True

    def _tell(self) -> None:
        if time.monotonic() - self._told >= TELL_EVERY:
            self._told = time.monotonic()
            minutes = (datetime.now(UTC) - self.journal.began_at).total_seconds() / 60
            logger.error("STILL ANSWERING WITHOUT THE DATABASE", minutes=round(minutes), updates=len(self._keys))


def wants_answer(heard: Heard) -> bool:
    return not is_blank(heard.content) and command_in(heard.content) is None


def _told_as(result: Result) -> dict[str, Any]:
    match result:
        case Sent(external_id):
            return {"status": "sent", "external_id": external_id, "error": ""}
        case Lost(reason):
            return {"status": "unknown", "external_id": "", "error": reason}
        case Refused(reason):
            return {"status": "failed", "external_id": "", "error": reason}
        case Later(_, reason):
            return {"status": "pending", "external_id": "", "error": reason}


def _delays() -> Iterator[float]:
    yield from BACKOFF
    while True:
        yield BACKOFF[-1]


def _now() -> str:
    return datetime.now(UTC).isoformat()
