"""Demo data: rich enough to search, told once, and never told to a database that is in use."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.management import call_command
from django.db import connection

from conversations import demo, erasure, log, reconcile, sessions
from conversations.models import Conversation, Message

pytestmark = pytest.mark.django_db(transaction=True)


def test_it_is_told_once() -> None:
    call_command("demo", verbosity=0)
    count = Message.objects.count()
    assert count > 100
    assert Conversation.objects.count() >= 14
    for arguments in ([], ["--anyway"]):
        call_command("demo", *arguments, verbosity=0)
        assert Message.objects.count() == count


def test_two_at_once_tell_it_once() -> None:
    def load(_number: int) -> str:
        try:
            return demo.load(anyway=False)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(load, range(4)))
    assert answers.count("there are conversations already") == 3
    assert Conversation.objects.values("chat_id").distinct().count() == Conversation.objects.count()


def test_real_conversations_are_left_alone_unless_asked() -> None:
    conversation, _new = sessions.open(7)
    log.append(conversation.id, "user", "I am real.")
    assert "already" in demo.load(anyway=False)
    assert Conversation.objects.get() == conversation
    demo.load(anyway=True)
    assert Conversation.objects.exclude(pk=conversation.pk).filter(channel="demo").count() >= 14


def test_what_staff_closed_is_not_opened_again() -> None:
    demo.load(anyway=False)
    conversation = Conversation.objects.first()
    assert conversation is not None
    sessions.close(conversation.pk, by="anna")
    count = Conversation.objects.count()
    demo.load(anyway=True)
    assert Conversation.objects.count() == count


def test_the_talks_are_whole_and_in_the_past() -> None:
    call_command("demo", verbosity=0)
    assert not reconcile.holes()
    for conversation in Conversation.objects.all():
        entries = log.history(conversation.pk)
        assert [entry.message_index for entry in entries] == list(range(conversation.message_count))
        times = [conversation.created_at, *(entry.created_at for entry in entries)]
        assert times == sorted(times)
        assert conversation.last_message_at == times[-1]
        assert (conversation.agent_id, conversation.channel) != (None, "")
        assert {entry.role for entry in entries} == {"user", "assistant"}


def test_the_first_query_shares_no_word_with_what_it_finds() -> None:
    said = " ".join(content for talk in demo.TALKS.glob("*.toml") for _, content in demo.Talk.read(talk).lines())
    assert not re.search(r"relocat|stress", said, re.IGNORECASE)


def test_it_can_be_erased() -> None:
    demo.load(anyway=False)
    for conversation in Conversation.objects.all():
        erasure.erase(conversation.pk, by="anna", reason="the show is over")
    assert not Message.objects.exists()
