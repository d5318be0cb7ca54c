"""The books of the product, read from its tables and balanced: who said what, and what became of it."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from django.db import connection

Query = Callable[[str], Iterable[tuple[Any, ...]]]

MESSAGES = """
SELECT conversation_id::text, messages.id::text, message_index, inbound, external_id, messages.turn_id::text,
    metadata -> 'failure' IS NOT NULL, fate, known.turn_id::text
FROM messages LEFT JOIN message_fates AS known ON known.message_id = messages.id
ORDER BY conversation_id, message_index
"""
TURNS = """
SELECT conversation_id::text, id::text, status, input::text, reply_id::text, interview_step, redrafts
FROM turns ORDER BY id
"""
BUFFERS = "SELECT messages::text, carries::text FROM message_buffers"
DELIVERIES = "SELECT message_id::text, count(*) FROM deliveries WHERE part = 0 GROUP BY 1"


@dataclass
class Message:
    """One row of the log, and its fate."""

    conversation: str
    id: str
    index: int
    inbound: bool
    external_id: str | None
    turn: str | None
    apology: bool
    fate: str | None
    fate_turn: str | None


@dataclass
class Turn:
    """One row of `turns`: the messages it took, and the corrections made to them."""

    conversation: str
    id: str
    status: str
    input: list[str]
    edits: list[str]
    reply: str | None
    step: int
    redrafts: int


@dataclass
class Ledger:
    """Everything there is; `balance` finds the faults in it."""

    messages: list[Message]
    turns: list[Turn]
    waiting: Counter[str]  # how often each message waits: in open bursts, unfinished turns, drafts a burst carries
    deliveries: dict[str, int]
    faults: list[str] = field(default_factory=list)

    @property
    def inbound(self) -> list[Message]:
        return [message for message in self.messages if message.inbound]

    def balance(self, *, in_order: bool = True) -> list[str]:
        """What is wrong, one line each; nothing where every promise holds."""
        self.faults = []
        self._indexes_have_no_gap()
        self._each_message_has_one_fate_or_waits_once()
        self._each_is_answered_once()
        self._each_turn_replies_once()
        if in_order:
            self._ranges_are_contiguous_and_increasing()
        return self.faults

    def _fault(self, *about: object) -> None:
        self.faults.append(" ".join(map(str, about)))

    def _indexes_have_no_gap(self) -> None:
        indexes: dict[str, list[int]] = defaultdict(list)
        for message in self.messages:
            indexes[message.conversation].append(message.index)
        for conversation, found in indexes.items():
            if found != list(range(len(found))):
                self._fault("gap in", conversation)

    def _each_message_has_one_fate_or_waits_once(self) -> None:
        for message in self.inbound:
            waits = self.waiting[message.id]
            if waits > 1:
                self._fault("double-covered: waits", waits, "times:", message)
            if message.fate is None and not waits:
                self._fault("uncovered:", message)
            if message.fate not in (None, "failed") and waits:
                self._fault("double-covered: waits, and has a fate:", message)

    def _each_is_answered_once(self) -> None:
        done = [turn for turn in self.turns if turn.status == "done"]
        answers = Counter(id_ for turn in done for id_ in (*turn.input, *turn.edits))
        taken_by = {id_: turn.id for turn in done for id_ in (*turn.input, *turn.edits)}
        for message in self.inbound:
            if answers[message.id] != (message.fate == "answered"):
                self._fault("double-covered: answered", answers[message.id], "times:", message)
            if message.fate == "answered" and message.fate_turn != taken_by.get(message.id):
                self._fault("its turn never saw it:", message)

    def _each_turn_replies_once(self) -> None:
        turns = {turn.id: turn for turn in self.turns}
        said: Counter[str] = Counter()
        for message in self.messages:
            if message.turn is None:
                continue
            said[message.turn] += not message.apology
            if not message.apology and turns[message.turn].reply != message.id:
                self._fault("duplicated: its turn knows another reply:", message)
            if self.deliveries.get(message.id) != 1:
                self._fault("delivered", self.deliveries.get(message.id, 0), "times:", message)
        for turn in self.turns:
            if said[turn.id] != (turn.status == "done" and turn.reply is not None):
                self._fault("duplicated or missing:", said[turn.id], "replies of", turn)

    def _ranges_are_contiguous_and_increasing(self) -> None:
        """In the order they were given, the answers of a step cover its messages one after the other, without holes."""
        at = {message.id: message.index for message in self.messages}
        answers = [turn for turn in self.turns if turn.status == "done" and turn.reply]
        covered: dict[tuple[str, int], list[str]] = defaultdict(list)
        for turn in sorted(answers, key=lambda turn: at[str(turn.reply)]):
            covered[turn.conversation, turn.step] += turn.input
            if turn.input and at[turn.input[-1]] > at[str(turn.reply)]:
                self._fault("order: answered before it was said:", turn)
        for key, ids in covered.items():
            if ids != sorted(ids, key=at.__getitem__):
                self._fault("order: answers of", *key)


def read(query: Query) -> Ledger:
    """Read the tables through `query`."""
    turns = [
        Turn(conversation, id_, status, *_ids(taken), reply, step, redrafts)
        for conversation, id_, status, taken, reply, step, redrafts in query(TURNS)
    ]
    by_id = {turn.id: turn for turn in turns}
    waiting: Counter[str] = Counter()
    for turn in turns:
        if turn.status in ("waiting", "running"):
            waiting.update([*turn.input, *turn.edits])
    for messages, carries in query(BUFFERS):
        for ids in _ids(messages):
            waiting.update(ids)
        if carries:
            waiting.update([*by_id[carries].input, *by_id[carries].edits])
    deliveries: dict[str, int] = dict(query(DELIVERIES))  # type: ignore[arg-type]  # two columns
    return Ledger([Message(*row) for row in query(MESSAGES)], turns, waiting, deliveries)


def _ids(messages: str) -> tuple[list[str], list[str]]:
    given = json.loads(messages)
    return [message["message_id"] for message in given], [id_ for message in given for id_ in message.get("edits", ())]


def of_this_database() -> Ledger:
    """Through Django's own connection."""

    def query(statement: str) -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    return read(query)
