"""A bot without its database: what it answers, what it keeps, and what staff find afterwards."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.db import IntegrityError, OperationalError
from django.db.models.functions import Now
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.models import AuditEntry
from conversations import bots, log, outage, sessions
from conversations.buffering import receive
from conversations.channels import ChannelUnavailableError, Order, Result
from conversations.journal import Journal, JournalFullError
from conversations.models import Bot as BotRow
from conversations.models import Conversation, Delivery, Message, MessageBuffer, MessageFate, Turn
from conversations.models import Outage as OutageRow
from conversations.outage import Heard, Outage
from tests.conversing import quiet, replies
from tests.fake_model_server import Hang, model_server
from tests.paper_channel import Paper
from tests.processes import eventually

pytestmark = pytest.mark.django_db(transaction=True)

Update = dict[str, Any]


class Bot:
    """A bot whose database is away when the test says so; the rest is real."""

    def __init__(self) -> None:
        self.paper = Paper()
        self.away = False
        self.refuses: set[str] = set()
        self.order = Order("console")
        self.outage = Outage(
            self.order, "one", take=self._take, heard=self._heard, place=self._place, transport=lambda: self.paper
        )
        self.numbers = iter(range(1, 10_000))

    def _take(self, update: Update) -> object:
        if self.away:
            raise OperationalError("the connection is refused")
        if update["text"] in self.refuses:
            raise IntegrityError("no such thing")
        conversation, _ = sessions.open(update["user"], chat_id=update["user"], channel="console")
        return receive(conversation.id, update["text"], external_id=update["id"])

    def _place(self, update: Update) -> UUID:
        return sessions.open(update["user"], chat_id=update["user"], channel="console")[0].id

    def _heard(self, update: Update) -> Heard | None:
        return Heard(update["user"], update["user"], update["id"], update["text"]) if update["text"] != "edit" else None

    def say(self, *texts: str, user: int = 7) -> None:
        for text in texts:
            number = str(next(self.numbers))
            self.outage.handle({"id": number, "user": user, "text": text}, key=number)

    @property
    def said(self) -> list[str]:
        return [text for _chat, text, _key in self.paper.taken]


@pytest.fixture
def place(tmp_path: Path, settings: Any) -> Path:
    settings.BOT_JOURNALS = tmp_path / "journals"
    settings.BOT_OUTAGE_PATIENCE = 0.0
    settings.INTERVIEW_BUFFER_DEBOUNCE_TIMEOUT = 0.5
    return tmp_path


@contextmanager
def bot(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bot]:
    one = Bot()
    with monkeypatch.context() as patch:
        patch.setattr(outage, "PROBE_EVERY", 0.05)
        patch.setattr(Outage, "_database_is_back", lambda _self: not one.away)
        with one.outage:
            try:
                yield one
            finally:
                one.order.stop.ask()
    one.order.stop.close()


@pytest.fixture
def one(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bot]:
    with bot(place, monkeypatch) as made:
        yield made


def back(one: Bot) -> None:
    one.away = False
    eventually(lambda: not one.outage.standing_in, "the journal is stored")


def talk(user: int = 7) -> UUID:
    return Conversation.objects.live().get(user_id=user).id


def test_with_the_database_nothing_is_journaled(one: Bot, place: Path) -> None:
    one.say("hello")
    assert not one.outage.standing_in
    assert not list((place / "journals").glob("*.jsonl"))
    assert MessageBuffer.objects.count() == 1


def test_a_burst_gets_one_answer_without_the_database_and_none_after_it(one: Bot) -> None:
    one.away = True
    one.say("Good morning", "I moved", "to Riga")
    eventually(lambda: one.said, "an answer")
    assert len(one.said) == 1
    assert "kept that" in one.said[0]
    back(one)
    quiet()
    conversation = talk()
    assert [(e.role, e.content) for e in log.history(conversation)] == [
        ("user", "Good morning"), ("user", "I moved"), ("user", "to Riga"), ("assistant", one.said[0]),
    ]  # fmt: skip
    assert replies(conversation) == one.said, "no second answer"
    assert set(MessageFate.objects.values_list("fate", flat=True)) == {"answered"}
    turn = Turn.objects.get()
    assert (turn.status, len(turn.input), turn.trace["outcome"]) == ("done", 3, "replied")
    assert Delivery.objects.get().status == "sent"
    assert len(one.said) == 1


def test_each_person_is_answered_for_himself(one: Bot) -> None:
    one.away = True
    one.say("a", user=1)
    one.say("b", user=2)
    one.say("c", user=1)
    eventually(lambda: len(one.said) == 2, "two answers")
    back(one)
    for user, texts in ((1, ["a", "c"]), (2, ["b"])):
        found = log.history(talk(user))
        assert [e.content for e in found if e.role == "user"] == texts
        assert found[-1].role == "assistant"


def test_staff_learn_of_it(one: Bot) -> None:
    assert bots.outages().ok
    one.away = True
    one.say("hello")
    eventually(lambda: one.said, "an answer")
    back(one)
    row = OutageRow.objects.get()
    assert (row.channel, row.account, row.updates, row.answers, row.rejected) == ("console", "one", 1, 1, 0)
    assert AuditEntry.objects.filter(action="outage.stored", subject_id=str(row.pk)).count() == 1
    result = bots.outages()
    assert not result.ok
    assert "updates: 1, answers: 1" in result.detail


def test_what_could_not_be_answered_is_answered_afterwards(one: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.offline.answer", _broken)
    one.away = True
    one.say("hello")
    eventually(lambda: any(r["kind"] == "left" for r in one.outage.journal.records), "given up")
    back(one)
    quiet()
    assert one.said == []
    assert len(replies(talk())) == 1, "by the agent itself"


def _broken(*_: object, **__: object) -> str:
    raise RuntimeError("no model")


def test_a_real_model_is_asked_about_the_burst_alone_and_told_why(one: Bot, settings: Any) -> None:
    with model_server() as server:
        settings.OPENAI_BASE_URL, settings.OPENAI_API_KEY = server.url, "x"
        one.away = True
        one.say("Good morning", "who are you?")
        eventually(lambda: one.said, "an answer")
        assert one.said == ["Hello."]
        [asked] = server.asked
        assert "out of reach for a moment" in asked["messages"][0]["content"]
        assert asked["messages"][1:] == [{"role": "user", "content": "Good morning\nwho are you?"}]
        assert "tools" not in asked


def test_a_model_that_never_answers_holds_up_no_stop_and_its_burst_is_kept(
    place: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with model_server() as server:
        server.script = [Hang()]
        settings.OPENAI_BASE_URL, settings.OPENAI_API_KEY = server.url, "x"
        with bot(place, monkeypatch) as one:
            one.away = True
            one.say("hello")
            eventually(lambda: server.asked, "the model is asked")
    again = Journal("console", "one")
    assert [record["kind"] for record in again.records] == ["update"]
    again.close()


@pytest.mark.parametrize("text", ["/start", "  ", "edit"])
def test_what_asks_for_no_answer_is_kept_and_done_later(one: Bot, text: str) -> None:
    taken: list[Update] = []
    one.outage.take = lambda update: one._take(update) if one.away else taken.append(update)
    one.away = True
    one.say(text)
    assert one.outage.standing_in
    assert not one.outage.owes
    back(one)
    assert [update["text"] for update in taken] == [text]


def test_the_same_update_twice_is_kept_once(one: Bot) -> None:
    one.away = True
    for _ in range(3):
        one.outage.handle({"id": "9", "user": 7, "text": "once"}, key="9")
    assert len(one.outage.journal.records) == 1
    back(one)
    assert Message.objects.filter(role="user").count() == 1
    assert OutageRow.objects.get().updates == 1


def test_an_update_the_database_refuses_holds_up_no_other(one: Bot, place: Path) -> None:
    one.refuses = {"bad"}
    one.outage.heard = lambda _update: None
    one.away = True
    one.say("first", "bad", "last")
    back(one)
    assert list(Message.objects.order_by("message_index").values_list("content", flat=True)) == ["first", "last"]
    assert OutageRow.objects.get().rejected == 1
    [rejected] = (place / "journals").glob("*.rejected")
    assert json.loads(rejected.read_text())["record"]["update"]["text"] == "bad"


def test_a_broken_rule_is_no_outage(one: Bot) -> None:
    one.refuses = {"bad"}
    with pytest.raises(IntegrityError):
        one.say("bad")
    assert not one.outage.standing_in


def test_patience_comes_first(one: Bot, settings: Any) -> None:
    settings.BOT_OUTAGE_PATIENCE = float("inf")
    one.away = True
    one.order.stop.ask()
    with pytest.raises(outage.StoppedError):
        one.say("waits with the messenger")
    assert not one.outage.standing_in


# --- sending without a database ---


@pytest.mark.parametrize(
    ("fault", "status"), [("answer lost", "unknown"), ("blocked", "failed"), ("unreachable", "sent")]
)
def test_what_came_of_sending_is_told_honestly(one: Bot, fault: Any, status: str) -> None:
    one.paper.faults.append(fault)
    one.away = True
    one.say("hello")
    eventually(lambda: any(r["kind"] == "sent" for r in one.outage.journal.records), "tried")
    back(one)
    assert Delivery.objects.get().status == status


def test_a_long_answer_goes_in_parts_and_stops_where_one_failed(one: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "One sentence. " * 20
    monkeypatch.setattr("agents.offline.answer", lambda *_, **__: text)
    one.paper.limit = 100
    one.outage.journal.channel = "telegram"

    class Wire(Paper):
        def send(self, address: Any, text: str, *, key: str) -> Result:
            if len(self.taken) == 1:
                self.faults.append("answer lost")
            return super().send(address, text, key=key)

    one.paper = Wire(limit=100)
    one.away = True
    one.say("hello")
    eventually(lambda: len([r for r in one.outage.journal.records if r["kind"] == "sent"]) == 2, "two parts tried")
    back(one)
    found = list(Delivery.objects.order_by("part").values_list("part", "status"))
    assert found == [(0, "sent"), (1, "unknown"), (2, "pending")]
    places = Delivery.objects.order_by("part").values_list("begins", "ends")
    assert " ".join(text[begins:ends] for begins, ends in places) == text.strip()


# --- the journal itself ---


def test_only_its_owner_may_read_it(one: Bot, place: Path) -> None:
    one.away = True
    one.say("secret")
    [path] = (place / "journals").glob("*.jsonl")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_nothing_people_wrote_stays_behind(one: Bot, place: Path) -> None:
    one.away = True
    one.say("secret words")
    back(one)
    assert not [path for path in (place / "journals").iterdir() if b"secret" in path.read_bytes()]


def test_two_bots_of_one_account_are_refused(one: Bot) -> None:
    with pytest.raises(ChannelUnavailableError, match="serves console one already"):
        Journal("console", "one")
    Journal("console", "two").close()


def test_a_full_journal_leaves_the_update_outside(one: Bot, settings: Any) -> None:
    one.away = True
    one.say("fits")
    settings.BOT_JOURNAL_LIMIT = one.outage.journal._size + 10
    one.order.stop.ask()
    with pytest.raises(outage.StoppedError):
        one.say("fits no more")
    settings.BOT_JOURNAL_LIMIT = 10**6
    back(one)
    assert list(Message.objects.filter(role="user").values_list("content", flat=True)) == ["fits"]


def test_a_disk_that_takes_no_more_tears_no_line(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal("console", "disk")
    journal.write({"kind": "update", "n": 0})
    before = journal.path.read_bytes()

    def full(_file: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(JournalFullError, match="No space left"):
            journal.write({"kind": "update", "n": 1})
    assert journal.path.read_bytes() == before
    journal.write({"kind": "update", "n": 2})
    journal.close()
    again = Journal("console", "disk")
    assert [record["n"] for record in again.records] == [0, 2]
    again.close()


TEXTS = st.text(max_size=30)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(TEXTS, min_size=1, max_size=6), cut=st.integers(0, 10_000), flip=st.integers(0, 10_000))
def test_whatever_a_crash_leaves_whole_lines_are_read_back(place: Path, texts: list[str], cut: int, flip: int) -> None:
    """Cut anywhere: a prefix is read. One byte changed: every other record is read, and it is told."""
    journal = Journal("console", "any")
    written = [{"kind": "update", "n": n, "text": text} for n, text in enumerate(texts)]
    for record in written:
        journal.write(record)
    content = journal.path.read_bytes()
    journal.close()
    journal.path.write_bytes(content[: cut % (len(content) + 1)])
    torn = Journal("console", "any")
    assert torn.records == written[: len(torn.records)]
    assert torn.damaged == 0
    torn.close()
    place_of_flip = flip % len(content)
    changed = bytearray(content)
    changed[place_of_flip] ^= 0x04
    torn.path.write_bytes(bytes(changed))
    damaged = Journal("console", "any")
    lost = [record for record in written if record not in damaged.records]
    assert len(lost) <= 2
    assert all(record in written for record in damaged.records)
    damaged.clear()
    damaged.close()


def test_a_killed_bot_goes_on_from_its_journal(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after SIGKILL: another process opens the journal, the database still away, and answers what has no answer."""
    journal = Journal("console", "one")
    for number, text in enumerate(["answered", "sent, who knows", "not answered"]):
        said = {"user_id": number, "chat_id": number, "external_id": str(number), "content": text, "metadata": {}}
        update = {"id": str(number), "user": number, "text": text}
        journal.write(
            {"kind": "update", "n": number, "key": str(number), "at": "2026-01-01", "update": update, "heard": said}
        )
    answer = {"kind": "answer", "text": "An answer", "parts": [[0, 9]], "agent": "x", "version": None, "at": "2026"}
    journal.write({**answer, "burst": [0]})
    journal.write({"kind": "sent", "of": 0, "part": 0, "status": "sent", "external_id": "5", "error": ""})
    journal.write({**answer, "burst": [1]})
    journal.close()
    with bot(place, monkeypatch) as one:
        one.away = True
        eventually(lambda: one.said, "the one that had none")
        assert one.paper.taken[0][0] == 2
        back(one)
    statuses = dict(Delivery.objects.values_list("message__conversation__user_id", "status"))
    assert statuses == {0: "sent", 1: "unknown", 2: "sent"}
    assert Message.objects.filter(role="assistant").count() == 3
    assert Turn.objects.filter(status="done").count() == 3


def test_a_replay_that_is_killed_is_repeated_and_stores_everything_once(
    one: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    one.away = True
    for user in range(5):
        one.say("hello", user=user)
    eventually(lambda: len(one.said) == 5, "all are answered")
    kept = list(one.outage.journal.records)
    journal_id, began = one.outage.journal.id, one.outage.journal.began_at
    back(one)
    again = Journal("console", "again")
    again.id, again.began_at, again.records = journal_id, began, kept  # what a kill before the last line leaves
    outage.replaying.store(again, one._take, one._place)
    again.close()
    assert Message.objects.filter(role="user").count() == 5
    assert Message.objects.filter(role="assistant").count() == 5
    assert Turn.objects.count() == 5
    assert Delivery.objects.count() == 5
    assert OutageRow.objects.count() == 1
    assert AuditEntry.objects.filter(action="outage.stored").count() == 1


def test_a_message_that_had_come_in_just_before_keeps_its_own_turn(one: Bot) -> None:
    """COMMIT was done and its answer lost: the bot hears it again in the outage."""
    one.say("hello")
    one.away = True
    one.outage.handle({"id": "1", "user": 7, "text": "hello"}, key="1")
    eventually(lambda: one.said, "an answer")
    back(one)
    quiet()
    assert Message.objects.filter(role="user").count() == 1
    assert one.said[0] in replies(talk()), "what was said is in the log"
    assert MessageFate.objects.count() == 1


def test_staff_read_of_bots_and_outages_in_the_admin(one: Bot, admin_client: Any) -> None:
    one.away = True
    one.say("hello")
    eventually(lambda: one.said, "an answer")
    back(one)
    with bots.alive("telegram", "@parley"):
        eventually(BotRow.objects.exists, "a heartbeat")
        page = admin_client.get("/admin/conversations/bot/").content.decode()
        assert "@parley" in page
        assert "runs" in page
        assert bots.bots().ok
    page = admin_client.get("/admin/conversations/outage/").content.decode()
    assert "console" in page
    start = admin_client.get("/admin/").content.decode()
    assert "updates: 1, answers: 1" in start
    BotRow.objects.update(stopped_at=None, beat_at=Now() - timedelta(minutes=5))
    assert "has given no sign" in bots.bots().detail
    assert "no sign of life" in admin_client.get("/admin/conversations/bot/").content.decode()
