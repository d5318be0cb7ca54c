"""Answers on their way: in order, once as far as anybody knows, and honest where nobody does."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, pairwise
from typing import Any
from uuid import UUID

import pytest
from django.db import IntegrityError, connection, transaction

from agents.models import AuditEntry
from config import health
from config.models.queued_task import QueuedTask
from config.queue import sweep
from conversations import delivering, log, takeover, undelivered
from conversations.channels import Refused, Result
from conversations.delivering import Busy, Idle, deliver
from conversations.errors import NothingToDecideError
from conversations.models import Delivery, DeliveryGate
from conversations.outbox import SEND
from tests.conversing import agent, conversation, quiet, say
from tests.paper_channel import Paper
from tests.racing import racers
from tests.time_travel import let_pass

numbers = count(1_000_000)
pytestmark = pytest.mark.django_db


@pytest.fixture
def paper(monkeypatch: pytest.MonkeyPatch) -> Paper:
    """The Telegram of these tests."""
    one = Paper(limit=40)
    monkeypatch.setattr(delivering, "transport_of", lambda _channel: one)
    return one


@pytest.fixture(autouse=True)
def calm(settings: Any) -> Iterator[None]:
    settings.DELIVERY_UNKNOWN_PATIENCE = 30
    settings.DELIVERY_ATTEMPTS = 5
    return


def chat(**columns: Any) -> UUID:
    return conversation(channel="telegram", chat_id=next(numbers), **columns)


def told(talk: UUID, *texts: str) -> list[Delivery]:
    for text in texts:
        takeover.reply(talk, text, by="anna")
    return rows(talk)


def rows(talk: UUID) -> list[Delivery]:
    return list(Delivery.objects.filter(conversation_id=talk).order_by("message_index", "part"))


def states(talk: UUID) -> list[str]:
    return [row.status for row in rows(talk)]


def texts(paper: Paper) -> list[str]:
    return [text for _chat, text, _key in paper.taken]


# --- the way of an answer ---
def test_an_answer_travels_with_the_wake_up_that_was_written_beside_it(paper: Paper) -> None:
    talk = chat()
    with agent():
        say(talk, "hello")
        quiet()
    assert texts(paper) == ["hello"]
    [row] = rows(talk)
    assert (row.status, row.attempts, row.external_id, row.message_index) == ("sent", 1, "1", 1)
    assert row.sent_at
    assert not QueuedTask.objects.filter(name=SEND).exists()


def test_what_staff_say_goes_the_same_way_and_in_the_same_order(paper: Paper) -> None:
    talk = chat()
    told(talk, "one", "two", "three")
    assert deliver(talk) == Idle()
    assert texts(paper) == ["one", "two", "three"]


def test_where_clients_read_for_themselves_nothing_is_sent_and_nobody_woken(paper: Paper) -> None:
    talk = conversation(channel="web")
    [row] = told(talk, "hello")
    assert row.status == "sent"
    assert not QueuedTask.objects.filter(name=SEND).exists()


def test_an_outbox_that_is_rolled_back_wakes_nobody(paper: Paper) -> None:
    talk = chat()
    with transaction.atomic():
        takeover.reply(talk, "never", by="anna")
        transaction.set_rollback(True)
    assert rows(talk) == []
    assert not QueuedTask.objects.filter(name=SEND).exists()


# --- parts ---
def test_a_long_answer_arrives_in_parts_and_resumes_at_the_one_that_failed(paper: Paper) -> None:
    talk = chat()
    text = "First sentence of it. " * 5
    told(talk, text)
    paper.during = lambda _text: paper.faults.append("unreachable") if len(paper.taken) == 1 else None
    assert isinstance(deliver(talk), Busy)
    assert states(talk) == ["sent", "pending", "pending", "pending", "pending"]
    paper.during = None
    let_pass(100)
    assert deliver(talk) == Idle()
    assert " ".join(texts(paper)) == text.strip()
    assert [row.attempts for row in rows(talk)] == [1, 2, 1, 1, 1]
    assert [row.part for row in rows(talk)] == [0, 1, 2, 3, 4]


def test_where_it_was_cut_is_written_down_and_not_decided_twice(paper: Paper) -> None:
    talk = chat()
    told(talk, "First sentence of it. " * 5)
    paper.during = lambda _text: paper.faults.append("unreachable") if len(paper.taken) == 1 else None
    deliver(talk)
    paper.during, paper.limit = None, 30  # a release with another idea of the limit
    let_pass(100)
    deliver(talk)
    assert len(paper.taken) == len({key for _chat, _text, key in paper.taken}) == 5


def test_a_part_that_is_refused_takes_the_rest_with_it_and_lets_later_messages_by(paper: Paper) -> None:
    talk = chat()
    told(talk, "Some sentence or other. " * 3, "later")
    paper.faults.append("malformed")
    assert deliver(talk) == Idle()
    assert states(talk) == ["failed", "failed", "failed", "sent"]
    assert texts(paper) == ["later"]
    assert "earlier part" in rows(talk)[1].error


# --- what can go wrong ---
def test_what_surely_did_not_arrive_is_tried_again_with_growing_pauses_and_then_fails(paper: Paper) -> None:
    talk = chat()
    told(talk, "again and again")
    pauses = []
    for _ in range(4):
        paper.faults.append("unreachable")
        assert isinstance(deliver(talk), Busy)
        [row] = rows(talk)
        assert row.status == "pending"
        pauses.append((row.next_attempt_at - row.updated_at).total_seconds())
        let_pass(400)
    assert pauses == sorted(pauses)
    assert 0.7 < pauses[0] < 1.3
    paper.faults.append("unreachable")
    deliver(talk)
    assert states(talk) == ["failed"]
    assert texts(paper) == []


def test_a_chat_that_says_later_is_left_alone_for_so_long(paper: Paper) -> None:
    talk, other = chat(), chat(agent_id=None, title="other")
    told(talk, "one")
    told(other, "two")
    paper.faults.append("too many")
    busy = deliver(talk)
    assert isinstance(busy, Busy)
    [row] = rows(talk)
    assert (row.next_attempt_at - row.updated_at).total_seconds() > 2.9
    assert deliver(other) == Idle(), "which is nobody else's affair"
    let_pass(-60)  # well before its time, however slow we are
    assert isinstance(deliver(talk), Busy)
    let_pass(64)
    assert deliver(talk) == Idle()
    assert texts(paper) == ["two", "one"]


def test_a_second_chat_that_says_later_at_the_same_time_pauses_all(paper: Paper) -> None:
    talks = [conversation(channel="telegram", chat_id=900 + number) for number in range(3)]
    for talk in talks:
        told(talk, str(talk))
    paper.faults.extend(["too many", "too many"])
    assert all(isinstance(deliver(talk), Busy) for talk in talks)
    assert texts(paper) == []
    assert DeliveryGate.objects.get(chat_id=0).failures == 1
    for _ in range(3):
        let_pass(10)
        for talk in talks:
            deliver(talk)
    assert sorted(texts(paper)) == sorted(map(str, talks))
    assert DeliveryGate.objects.get(chat_id=0).failures == 0, "and one that went through ends it"


def test_a_blocked_person_is_final_and_visible(paper: Paper) -> None:
    talk = chat()
    told(talk, "are you there?")
    paper.faults.append("blocked")
    deliver(talk)
    [row] = rows(talk)
    assert (row.status, row.error) == ("failed", "blocked by the user")
    assert row.resolved_by == "telegram", "nobody can decide anything here"
    assert undelivered.deliveries().ok
    undelivered.resend(row.pk, by="anna")
    assert deliver(talk) == Idle(), "but they may have come back"
    assert states(talk) == ["sent"]


def test_a_malformed_message_is_final_and_waits_for_staff(paper: Paper) -> None:
    talk = chat()
    told(talk, "are you there?")
    paper.faults.append("malformed")
    deliver(talk)
    assert Delivery.objects.troubled().get() == rows(talk)[0]


def test_a_lost_answer_is_unknown_never_sent_again_and_holds_the_others_only_for_a_while(paper: Paper) -> None:
    talk = chat()
    told(talk, "perhaps", "after it")
    paper.faults.append("answer lost")
    assert isinstance(deliver(talk), Busy)
    assert states(talk) == ["unknown", "pending"]
    let_pass(20)
    assert isinstance(deliver(talk), Busy)
    let_pass(20)
    assert deliver(talk) == Idle()
    assert texts(paper) == ["perhaps", "after it"]
    let_pass(100_000)
    deliver(talk)
    assert states(talk) == ["unknown", "sent"]


def test_a_transport_with_a_bug_leaves_an_unknown_and_no_loop(paper: Paper) -> None:
    talk = chat()
    told(talk, "hello")

    def bug(_text: str) -> None:
        raise ZeroDivisionError

    paper.during = bug
    assert isinstance(deliver(talk), Busy)
    assert states(talk) == ["unknown"]
    assert "ZeroDivisionError" in rows(talk)[0].error


def test_a_deleted_message_is_not_sent_any_more(paper: Paper) -> None:
    talk = chat()
    told(talk, "old")
    log.clear(talk, by="anna")
    told(talk, "new")
    assert deliver(talk) == Idle()
    assert texts(paper) == ["new"]
    assert states(talk) == ["failed", "sent"]
    assert not Delivery.objects.troubled().exists(), "and that is nobody's trouble"


def test_a_channel_nobody_knows_fails_and_one_that_is_not_set_up_waits(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.TELEGRAM_BOT_TOKEN = ""
    strange, telegram = conversation(channel="pigeon"), chat()
    told(strange, "coo")
    told(telegram, "hello")
    assert deliver(strange) == Idle()
    assert states(strange) == ["failed"]
    assert "pigeon" in rows(strange)[0].error
    assert isinstance(deliver(telegram), Busy)
    [row] = rows(telegram)
    assert row.status == "pending"
    assert row.error == "telegram is not set up here: the log of the worker tells operators what is missing."
    assert "TELEGRAM_BOT_TOKEN is not set" in caplog.text


# --- leases ---
def test_a_sender_that_died_leaves_an_unknown(paper: Paper) -> None:
    talk = chat()
    told(talk, "perhaps", "after it")
    claimed = claim(talk, paper)
    assert isinstance(claimed, delivering.Claimed)
    assert isinstance(deliver(talk), Busy)
    let_pass(delivering.LEASE)
    assert isinstance(deliver(talk), Busy)
    assert states(talk) == ["unknown", "pending"]
    assert texts(paper) == []


def claim(talk: UUID, paper: Paper) -> Any:
    found = delivering.address_of(talk)
    assert found
    return delivering.claim(paper, found[1])


def test_late_news_of_an_unknown_part_is_kept_unless_staff_have_decided(paper: Paper) -> None:
    for decided in (False, True):
        talk = chat()
        told(talk, "perhaps")
        claimed = claim(talk, paper)
        found = delivering.address_of(talk)
        assert found
        let_pass(delivering.LEASE)
        deliver(talk)
        if decided:
            undelivered.give_up(rows(talk)[0].pk, by="anna")
        kept = delivering.record(claimed, delivering.Sent("9"), *found)
        assert kept is not decided
        assert states(talk) == ["failed" if decided else "sent"]


@pytest.mark.parametrize("result", [delivering.Sent("9"), Refused("no"), delivering.Lost("late")])
def test_late_news_of_a_part_that_was_sent_anew_does_not_touch_its_new_sender(paper: Paper, result: Result) -> None:
    talk = chat()
    told(talk, "perhaps")
    first = claim(talk, paper)
    found = delivering.address_of(talk)
    assert found
    let_pass(delivering.LEASE)
    deliver(talk)
    undelivered.resend(rows(talk)[0].pk, by="anna")
    second = claim(talk, paper)
    assert isinstance(second, delivering.Claimed)
    assert not delivering.record(first, result, *found)
    assert states(talk) == ["sending"]
    assert delivering.record(second, delivering.Sent("10"), *found)
    assert [(row.status, row.external_id) for row in rows(talk)] == [("sent", "10")]


def test_whoever_cuts_second_changes_nothing(paper: Paper) -> None:
    talk = chat()
    told(talk, "First sentence of it. " * 5)
    uncut = claim(talk, paper)
    assert isinstance(uncut, delivering.Uncut)
    delivering.keep_cut(uncut, 40)
    before = [(row.part, row.begins, row.ends) for row in rows(talk)]
    delivering.keep_cut(uncut, 30)
    assert [(row.part, row.begins, row.ends) for row in rows(talk)] == before


def test_a_sender_that_was_held_up_before_the_call_does_not_make_it(
    paper: Paper, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = chat()
    told(talk, "late")
    monkeypatch.setattr(delivering, "SURELY", -1.0)
    assert isinstance(deliver(talk), Busy)
    assert states(talk) == ["pending"]
    assert texts(paper) == []


def test_a_second_claim_gets_nothing_and_the_database_allows_no_other(paper: Paper) -> None:
    talk = chat()
    first, second = told(talk, "one", "two")
    assert isinstance(claim(talk, paper), delivering.Claimed)
    assert isinstance(claim(talk, paper), Busy)
    with pytest.raises(IntegrityError, match="deliveries_one_sending"), transaction.atomic():
        Delivery.objects.filter(pk=second.pk).update(status="sending", lease_until=second.created_at)
    with pytest.raises(IntegrityError, match="deliveries_send_under_a_lease"), transaction.atomic():
        Delivery.objects.filter(pk=first.pk).update(lease_until=None)


@pytest.mark.django_db(transaction=True)
def test_senders_that_race_send_each_part_once_and_in_order(paper: Paper) -> None:
    with racers(4) as race:
        for _ in range(10):
            talk = chat()
            told(talk, "one", "two", "three")
            race(*[lambda talk=talk: deliver(talk)] * 4)
            deliver(talk)
            assert texts(paper)[-3:] == ["one", "two", "three"]
    assert len(paper.taken) == 30


# --- pace ---
class Slow(Paper):
    def gaps(self, _address: object) -> tuple[delivering.timedelta, delivering.timedelta]:
        return delivering.timedelta(seconds=1), delivering.timedelta(seconds=0.1)


def test_a_chat_and_the_bot_keep_their_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow()
    monkeypatch.setattr(delivering, "transport_of", lambda _channel: slow)
    talks = [conversation(channel="telegram", chat_id=800 + number) for number in range(20)]
    for talk in talks:
        told(talk, "a", "b")
    for talk in talks:
        assert isinstance(deliver(talk), Busy)
    assert len(slow.taken) <= 2, "the others have been given their time"
    slots = sorted(Delivery.objects.filter(slot_at__isnull=False).values_list("slot_at", flat=True))
    apart = [(b - a).total_seconds() for a, b in pairwise(slots)]
    assert len(slots) >= 18
    assert min(apart) >= 0.099
    for _ in range(60):
        let_pass(1)
        for talk in talks:
            deliver(talk)
    assert len(slow.taken) == 40


# --- staff decide ---
def test_staff_send_it_again_from_where_it_broke(paper: Paper) -> None:
    talk = chat()
    told(talk, "Some sentence or other. " * 3)
    paper.faults.append("malformed")
    deliver(talk)
    undelivered.resend(rows(talk)[0].pk, by="anna")
    assert QueuedTask.objects.filter(name=SEND).exists()
    assert deliver(talk) == Idle()
    assert states(talk) == ["sent"] * 3
    assert AuditEntry.objects.filter(action="delivery.resend", actor="anna").count() == 1


def test_staff_have_seen_it_arrive_and_the_rest_goes_on(paper: Paper) -> None:
    talk = chat()
    told(talk, "perhaps", "after it")
    paper.faults.append("answer lost")
    deliver(talk)
    undelivered.arrived(rows(talk)[0].pk, by="anna")
    assert deliver(talk) == Idle()
    assert states(talk) == ["sent", "sent"]
    assert rows(talk)[0].resolved_by == "anna"
    assert not Delivery.objects.troubled().exists()


def test_staff_give_it_up_with_the_rest_of_it(paper: Paper) -> None:
    talk = chat()
    told(talk, "Some sentence or other. " * 3, "later")
    paper.faults.append("unreachable")
    deliver(talk)
    undelivered.give_up(rows(talk)[0].pk, by="anna")
    assert deliver(talk) == Idle()
    assert states(talk) == ["failed"] * 3 + ["sent"]
    assert not Delivery.objects.troubled().exists()


@pytest.mark.parametrize("decision", ["resend", "arrived", "give_up"])
def test_what_arrived_is_not_decided_upon(paper: Paper, decision: str) -> None:
    talk = chat()
    told(talk, "hello")
    deliver(talk)
    with pytest.raises(NothingToDecideError):
        getattr(undelivered, decision)(rows(talk)[0].pk, by="anna")
    with pytest.raises(NothingToDecideError):
        getattr(undelivered, decision)(UUID(int=1), by="anna")
    assert not AuditEntry.objects.filter(action__startswith="delivery").exists()


# --- nothing is forgotten ---
def test_a_lost_wake_up_and_a_dead_sender_are_found(paper: Paper) -> None:
    talk, other = chat(), chat(title="b")
    told(talk, "one")
    told(other, "two")
    claim(other, paper)
    QueuedTask.objects.all().delete()
    let_pass(delivering.LEASE + 10)
    assert {swept.name: swept.woken for swept in sweep()}["deliveries.overdue"] == 2
    quiet(0)
    assert (states(talk), states(other)) == (["sent"], ["unknown"])


def test_what_waits_for_staff_is_told_on_the_start_page_and_not_to_load_balancers(paper: Paper) -> None:
    assert undelivered.deliveries().ok
    talk = chat()
    told(talk, "perhaps")
    paper.faults.append("answer lost")
    deliver(talk)
    result = undelivered.deliveries()
    assert (result.ok, result.detail) == (False, "unknown: 1, failed: 0, the oldest has waited for 0 s")
    assert undelivered.deliveries in health.NOTICES
    assert undelivered.deliveries not in health.READINESS


def test_the_next_part_is_found_by_its_index() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(
            "EXPLAIN SELECT * FROM deliveries WHERE conversation_id = %s"
            " AND status IN ('pending', 'sending', 'unknown') ORDER BY message_index, part LIMIT 1",
            [UUID(int=1)],
        )
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "deliveries_next" in plan
    assert "Sort" not in plan


def test_a_refusal_is_a_value() -> None:
    result: Result = Refused("no", gone=True)
    assert isinstance(result, Refused)
