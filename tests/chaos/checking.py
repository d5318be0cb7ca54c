"""Total-queue checker with order: compares what the outside saw with what the database holds."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from tests import ledger
from tests.chaos.history import History
from tests.chaos.model import SEPARATOR

SAID = """
SELECT conversation_id::text, message_index, role, external_id, content FROM messages
ORDER BY conversation_id, message_index
"""


@dataclass
class Verdict:
    """Zeros where every promise holds; `recovered` and the model's figures are no faults."""

    acknowledged: int = 0
    lost: list[str] = field(default_factory=list)  # acknowledged to the writer, and not stored or never answered
    duplicated: list[str] = field(default_factory=list)  # stored, or answered, more than once
    unexpected: list[str] = field(default_factory=list)  # stored, and never sent
    disordered: list[str] = field(default_factory=list)  # conversations whose answers do not follow what was said
    faults: list[str] = field(default_factory=list)  # of the books
    recovered: int = 0  # nobody knew whether they were stored until they were sent again
    model_calls: int = 0
    model_repeats: int = 0  # answers given again for a turn that had one

    @property
    def clean(self) -> bool:
        return not (self.lost or self.duplicated or self.unexpected or self.disordered or self.faults)


def check(history: History, query: ledger.Query) -> Verdict:
    """Judge a run that was healed and drained."""
    verdict = Verdict(faults=ledger.read(query).balance())
    said: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for conversation, *row in query(SAID):
        said[conversation].append(tuple(row))
    _compare_with_the_writers(verdict, history, said)
    _compare_answers_with_messages(verdict, said)
    answers = Counter(event["turn"] for event in history.events("model") if event["what"] == "ok")
    verdict.model_calls, verdict.model_repeats = answers.total(), answers.total() - len(answers)
    return verdict


def _compare_with_the_writers(verdict: Verdict, history: History, said: dict[str, list[tuple[Any, ...]]]) -> None:
    stored = Counter(external_id for rows in said.values() for _, role, external_id, _ in rows if role == "user")
    places = {
        external_id: (chat, index)
        for chat, rows in said.items()
        for index, role, external_id, _ in rows
        if role == "user"
    }
    invoked: dict[str, dict[str, Any]] = {}
    known: dict[str, int] = {}
    latest: dict[tuple[int, str], int] = {}
    for event in history.events("writer"):
        if event["what"] == "invoke":
            invoked[event["id"]] = event
        elif event["what"] == "ok":
            known[event["id"]] = event["index"]
            verdict.recovered += event["repeated"]
    for id_, index in known.items():
        sent = invoked[id_]
        if id_ not in stored or places[id_] != (sent["chat"], index):
            verdict.lost.append(id_)
        before = latest.get((sent["writer"], sent["chat"]), -1)
        if index <= before:
            verdict.disordered.append(f"{sent['chat']}: {id_} was stored before its predecessor")
        latest[sent["writer"], sent["chat"]] = index
    verdict.acknowledged = len(known)
    verdict.duplicated += [id_ for id_, times in stored.items() if times > 1]
    verdict.unexpected += [str(id_) for id_ in stored if id_ not in invoked]


def _compare_answers_with_messages(verdict: Verdict, said: dict[str, list[tuple[Any, ...]]]) -> None:
    """The model repeats what it was asked, so the answers of a conversation must spell its messages, in order."""
    for conversation, rows in said.items():
        asked = [content for _, role, _, content in rows if role == "user"]
        replies = [content for _, role, _, content in rows if role == "assistant"]
        answered = [text for reply in replies for text in reply.split(SEPARATOR)]
        times = Counter(answered)
        verdict.lost += [text for text in asked if not times[text]]
        verdict.duplicated += [text for text, number in times.items() if number > 1]
        verdict.unexpected += [text for text in times if text not in set(asked)]
        if answered != asked:
            verdict.disordered.append(conversation)
