"""A user account: what it hears reaches the buffer, what it must not hear does not, and read means stored."""

from __future__ import annotations

import asyncio
import stat
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import OperationalError
from telethon.tl import types

from config.queue import run_due
from conversations import log
from conversations.channels import ChannelAwayError, ChannelUnavailableError, Order, channel
from conversations.channels.mtproto import account, runner, updates
from conversations.models import Bot, Conversation, Delivery, Message, MessageBuffer
from tests.conversing import quiet
from tests.fake_account import FakeAccount, message, new, person
from tests.processes import eventually

pytestmark = pytest.mark.django_db(transaction=True)
ADA = 500


class Serving:
    """The runner in a thread, and the fake account its loop talks to."""

    def __init__(self, before: Callable[[FakeAccount], None] | None = None) -> None:
        self.order = Order("mtproto", ready=lambda _line: self.ready.set())
        self.ready, self.loop = threading.Event(), asyncio.new_event_loop()
        self.raised: list[BaseException] = []
        self.before = before
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        eventually(lambda: self.ready.is_set() or not self.thread.is_alive(), "ready")
        if self.raised and before is None:
            raise self.raised[0]

    def _run(self) -> None:
        async def serve() -> None:
            self.client = FakeAccount()
            if self.before is not None:
                self.before(self.client)
            await runner._serve(self.order, self.client)

        with asyncio.Runner(loop_factory=lambda: self.loop) as one:
            try:
                one.run(serve())
            except BaseException as error:
                self.raised.append(error)

    def do(self, what: Awaitable[Any]) -> Any:
        async def done() -> Any:
            return await what

        return asyncio.run_coroutine_threadsafe(done(), self.loop).result(20)

    def tell(self, update: Any, *users: types.User) -> None:
        self.do(self.client.tell(update, *(users or (person(ADA),))))

    def stop(self) -> None:
        if self.thread.is_alive():
            self.order.stop.ask()
        self.thread.join(20)
        assert not self.thread.is_alive()
        self.order.stop.close()


@contextmanager
def served(before: Callable[[FakeAccount], None] | None = None) -> Iterator[Serving]:
    one = Serving(before)
    try:
        yield one
    finally:
        one.stop()


@pytest.fixture
def one() -> Iterator[Serving]:
    with served() as serving:
        yield serving


def texts() -> list[str]:
    return list(Message.objects.filter(role="user").order_by("id").values_list("content", flat=True))


def waiting() -> list[str]:
    return [one["content"] for buffer in MessageBuffer.objects.all() for one in buffer.messages]


def test_a_burst_with_typing_gets_one_answer(one: Serving) -> None:
    one.tell(new(ADA, 1, "I moved"))
    eventually(MessageBuffer.objects.exists, "a burst")
    before = MessageBuffer.objects.get().flush_at
    one.tell(types.UpdateUserTyping(ADA, types.SendMessageTypingAction()))
    eventually(lambda: MessageBuffer.objects.get().flush_at > before, "typing is waited for")
    assert MessageBuffer.objects.get().extended_by_typing == 1
    one.tell(new(ADA, 2, "to Riga"))
    eventually(lambda: len(texts()) == 2, "both")
    quiet()
    eventually(lambda: one.client.taken, "the answer is sent by the account")
    [(user, text)] = one.client.taken
    assert user == ADA
    assert text.startswith("Hello!")
    eventually(lambda: Delivery.objects.get().status == "sent", "and recorded")
    assert Delivery.objects.get().external_id == "101"


@pytest.mark.parametrize(
    ("action", "word"),
    [
        (types.SendMessageTypingAction(), "typing"),
        (types.SendMessageRecordAudioAction(), "recording"),
        (types.SendMessageRecordRoundAction(), "recording"),
        (types.SendMessageUploadPhotoAction(5), "uploading"),
        (types.SendMessageUploadDocumentAction(5), "uploading"),
        (types.SendMessageCancelAction(), "cancel"),
        (types.SendMessageGamePlayAction(), None),
    ],
)
def test_activities_are_told_in_our_words(action: Any, word: str | None) -> None:
    assert account.activity(types.UpdateUserTyping(ADA, action)) == (word and (ADA, word))


def test_typing_of_a_stranger_opens_nothing(one: Serving) -> None:
    one.tell(types.UpdateUserTyping(ADA, types.SendMessageTypingAction()))
    one.tell(new(ADA + 1, 1, "somebody else"), person(ADA + 1))
    eventually(texts, "the other")
    assert Conversation.objects.count() == 1


@pytest.mark.parametrize(
    ("update", "user"),
    [
        (new(777000, 1, "Login code: 12345"), person(777000)),
        (new(ADA, 1, "I am a bot"), person(ADA, bot=True)),
        (new(ADA, 1, "wrote it myself", out=True), person(ADA)),
        (types.UpdateNewMessage(types.Message(1, types.PeerChat(5), message="in a group"), 1, 1), person(ADA)),
        (types.UpdateNewChannelMessage(types.Message(1, types.PeerChannel(5), message="channel"), 1, 1), person(ADA)),
        (types.UpdateNewMessage(types.MessageService(1, types.PeerUser(ADA), action=types.MessageActionContactSignUp()),
                                1, 1), person(ADA)),
        (new(ADA, 1, " \u200b "), person(ADA)),
    ],
)  # fmt: skip
def test_what_nobody_said_to_the_agent_is_left_alone(one: Serving, update: Any, user: types.User) -> None:
    one.tell(update, user)
    one.tell(new(ADA + 1, 2, "hello"), person(ADA + 1))
    eventually(texts, "what was said")
    assert texts() == ["hello"]


def test_read_means_stored(one: Serving) -> None:
    one.tell(new(ADA, 5, "hello"))
    eventually(lambda: one.client.read, "marked read")
    assert one.client.read == [(ADA, 5)]
    assert texts() == ["hello"]


def test_what_was_said_in_our_absence_is_fetched_in_order() -> None:
    def waiting(client: FakeAccount) -> None:
        client.unread[ADA] = [message(ADA, 1, "first"), message(ADA, 2, "second")]

    with served(waiting):
        eventually(lambda: len(texts()) == 2, "both")
        assert texts() == ["first", "second"]
    with served(waiting):  # not marked read before we died: it comes again
        pass
    assert texts() == ["first", "second"]


def test_an_edit_changes_the_burst_and_a_deletion_takes_out_of_it(one: Serving) -> None:
    one.tell(new(ADA, 1, "I moved to Rga"))
    one.tell(new(ADA, 2, "secret"))
    edited = message(ADA, 1, "I moved to Riga", edit_date=message(ADA, 1, "").date)
    one.tell(types.UpdateEditMessage(edited, 1, 1))
    one.tell(types.UpdateDeleteMessages([2], 1, 1), person(ADA))
    eventually(lambda: waiting() == ["I moved to Riga"], "the burst is what they mean")
    one.tell(types.UpdateEditMessage(edited, 1, 1))
    one.tell(new(ADA, 3, "more"))
    eventually(lambda: "more" in texts(), "the last")
    assert texts() == ["I moved to Rga", "secret", "I moved to Riga", "more"], "an edit told twice is one"


def test_albums_forwards_and_media_are_told_as_such(one: Serving) -> None:
    one.tell(new(ADA, 1, "caption", grouped_id=9, media=types.MessageMediaPhoto()))
    one.tell(new(ADA, 2, "", media=types.MessageMediaDocument(voice=True)))
    eventually(lambda: len(texts()) == 2, "both")
    assert texts() == ["[photo]\ncaption", "[voice message]"]
    assert Message.objects.order_by("id")[0].metadata["media_group_id"] == "9"


def test_commands_are_carried_out(one: Serving) -> None:
    one.tell(new(ADA, 1, "hello"))
    one.tell(new(ADA, 2, "/reset"))
    eventually(lambda: Conversation.objects.count() == 2, "a new conversation")
    run_due()
    eventually(lambda: one.client.taken, "it says so")
    assert "begin anew" in one.client.taken[0][1]


def test_the_number_a_person_is_reached_by_is_remembered(one: Serving) -> None:
    one.tell(new(ADA, 1, "hello"))
    eventually(texts, "stored")
    conversation = Conversation.objects.get()
    assert conversation.metadata == {"mtproto": {"access_hash": str(ADA * 1000)}}
    assert (conversation.channel, conversation.chat_id, conversation.title) == ("mtproto", ADA, "Ada L")


def test_without_the_database_it_answers_and_stores_later(
    settings: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.BOT_OUTAGE_PATIENCE, settings.BOT_JOURNALS = 0.0, tmp_path
    settings.INTERVIEW_BUFFER_DEBOUNCE_TIMEOUT = 0.2
    away = threading.Event()
    take = updates.take

    def unreachable(order: Order, update: Any) -> None:
        if away.is_set():
            raise OperationalError("refused")
        take(order, update)

    monkeypatch.setattr(updates, "take", unreachable)
    monkeypatch.setattr("conversations.outage.Outage._database_is_back", lambda _self: not away.is_set())
    with served() as one:
        away.set()
        one.tell(new(ADA, 1, "are you there?"))
        eventually(lambda: one.client.taken, "answered")
        assert one.client.typing == [ADA]
        assert not Message.objects.exists()
        away.clear()
        eventually(lambda: Message.objects.count() == 2, "stored")
    quiet()
    [entry] = [e for e in log.history(Conversation.objects.get().id) if e.role == "assistant"]
    assert entry.content == one.client.taken[0][1]
    assert Conversation.objects.get().metadata["mtproto"]["access_hash"] == str(ADA * 1000)


def test_staff_see_that_it_runs() -> None:
    with served():
        eventually(lambda: Bot.objects.filter(channel="mtproto", account="1").exists(), "a heartbeat")
        assert Bot.objects.get().stopped_at is None
    assert Bot.objects.get().stopped_at is not None


def test_who_is_not_signed_in_is_told_how() -> None:
    def unknown(client: FakeAccount) -> None:
        client.authorized = False

    one = Serving(unknown)
    one.thread.join(20)
    [error] = one.raised
    assert isinstance(error, ChannelUnavailableError)
    assert "--login" in str(error)


def test_a_lost_connection_ends_it_for_another_start() -> None:
    one = Serving()
    one.do(one.client.disconnect())
    one.thread.join(20)
    assert isinstance(one.raised[0], ChannelAwayError)


def test_the_session_is_its_owners_alone(settings: Any, tmp_path: Any) -> None:
    settings.DATA_DIR, settings.TELEGRAM_API_ID, settings.TELEGRAM_API_HASH = tmp_path, 5, "x"
    (tmp_path / "mtproto").mkdir(mode=0o755)
    path = account.session_file()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_no_worker_sends_for_the_account() -> None:
    with pytest.raises(ChannelUnavailableError, match="Only the bot of the account"):
        channel("mtproto").transport()
