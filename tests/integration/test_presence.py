"""While a turn runs the person sees that an answer is being written; and bots that send for themselves do so."""

from __future__ import annotations

import threading

import pytest
from django.db import connection

from agents.runtime import Request
from config.models.queued_task import QueuedTask
from config.queue import sweep
from conversations import delivering, presence, takeover, tasks
from conversations.channels import Stop
from conversations.models import ChannelUpdate, Delivery, DeliveryGate
from conversations.outbox import SEND
from tests.conversing import agent, conversation, quiet, replies, say
from tests.fake_telegram import BOT_ID
from tests.paper_channel import Paper
from tests.patience import PATIENCE
from tests.processes import eventually
from tests.time_travel import let_pass

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def paper(monkeypatch: pytest.MonkeyPatch) -> Paper:
    one = Paper()
    monkeypatch.setattr(delivering, "transport_of", lambda _channel: one)
    return one


def test_typing_is_shown_again_and_again_while_the_agent_thinks(paper: Paper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "AGAIN_AFTER", 0.05)
    talk = conversation(channel="telegram", chat_id=5)
    with agent(during=lambda _request: eventually(lambda: paper.typing >= 2, "typing is shown")):
        say(talk, "hello")
        quiet()
    assert replies(talk) == ["hello"]


def test_an_answer_that_comes_at_once_shows_none_and_neither_does_a_web_page(paper: Paper) -> None:
    with agent():
        say(conversation(channel="telegram", chat_id=5), "hello")
        quiet()
    assert paper.typing == 0
    over = threading.Event()
    with agent(during=lambda _request: over.wait(1.0)):  # a second is several looks
        say(conversation(channel="web"), "hello")
        quiet()
    assert paper.typing == 0


def test_a_sign_that_hangs_or_breaks_costs_neither_the_answer_nor_the_lease(
    paper: Paper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "AGAIN_AFTER", 0.05)
    go, calls, looks = threading.Event(), list[object](), list[object]()
    show = presence.Presence.show

    def looked(self: presence.Presence) -> None:
        looks.append(show(self))

    def hangs(address: object) -> None:
        calls.append(address)
        go.wait(PATIENCE)
        raise ZeroDivisionError

    monkeypatch.setattr(paper, "show_typing", hangs)
    monkeypatch.setattr(presence.Presence, "show", looked)
    talk = conversation(channel="telegram", chat_id=5)

    def during(request: Request) -> None:
        eventually(lambda: calls and len(looks) > 3, "it hangs, and the lease is looked after")
        assert len(calls) == 1, "one that hangs is not joined by others"
        assert request.still_ours()

    with agent(during=during):
        say(talk, "hello")
        quiet()
    go.set()
    assert replies(talk) == ["hello"]


def test_a_bot_that_sends_for_itself_needs_no_worker(paper: Paper) -> None:
    talk = conversation(channel="mtproto", chat_id=5)
    stop = Stop()

    def serve() -> None:
        try:
            delivering.serve("mtproto", paper, stop)
        finally:
            connection.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        takeover.reply(talk, "one", by="anna")
        paper.faults.append("unreachable")
        takeover.reply(talk, "two", by="anna")
        assert not QueuedTask.objects.filter(name=SEND).exists()
        eventually(lambda: [text for _c, text, _k in paper.taken] == ["one", "two"], "both are sent")
        eventually(lambda: not Delivery.objects.exclude(status="sent").exists(), "and written down")
    finally:
        stop.ask()
        thread.join(PATIENCE)
        stop.close()
    assert not thread.is_alive()


def test_a_bot_that_is_gone_leaves_its_rows_to_be_seen_and_no_tasks(paper: Paper) -> None:
    takeover.reply(conversation(channel="mtproto", chat_id=5), "one", by="anna")
    let_pass(100)
    sweep()
    assert not QueuedTask.objects.filter(name=SEND).exists()
    assert Delivery.objects.overdue().count() == 1


def test_what_nobody_needs_any_more_is_forgotten() -> None:
    for number in (1, 2, 3):
        ChannelUpdate.objects.create(bot_id=BOT_ID, update_id=number, content_hash=b"", kind="message", outcome="x")
    DeliveryGate.objects.create(channel="telegram", chat_id=0)
    DeliveryGate.objects.create(channel="telegram", chat_id=7)
    ChannelUpdate.objects.filter(update_id=3).update(payload={"kept": "for the next release"})
    with connection.cursor() as cursor:
        cursor.execute("UPDATE channel_updates SET created_at = now() - interval '31 days' WHERE update_id <> 2")
        cursor.execute("UPDATE delivery_gates SET next_at = now() - '2 days'::interval, paused_until = next_at")
        cursor.execute("UPDATE delivery_gates SET paused_until = next_at")
    tasks.tidy()
    assert set(ChannelUpdate.objects.values_list("update_id", flat=True)) == {2, 3}
    assert list(DeliveryGate.objects.values_list("chat_id", flat=True)) == [0]
