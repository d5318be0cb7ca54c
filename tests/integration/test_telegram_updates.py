"""What Telegram tells us becomes messages, each once, whatever it looks like and however often it comes."""

from __future__ import annotations

import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction

from agents.models import AuditEntry
from conversations import buffering, erasure, log
from conversations.channels.telegram import reading, updates
from conversations.channels.telegram.reading import UnreadableError
from conversations.models import ChannelUpdate, ChatMove, Conversation, Delivery, Message, Mode, Tally
from tests.chaos.world import SEED
from tests.conversing import agent, quiet, replies
from tests.fake_telegram import BOT_ID, update
from tests.patience import LONG

pytestmark = pytest.mark.django_db


def take(raw: dict[str, Any]) -> str:
    return updates.take(raw, bot_id=BOT_ID)


def said() -> list[str]:
    return list(Message.objects.filter(role="user").order_by("message_index").values_list("content", flat=True))


def talk() -> Conversation:
    return Conversation.objects.get(mode=Mode.AUTO)


def counted(name: str) -> int:
    return sum(Tally.objects.filter(name=f"telegram_{name}").values_list("count", flat=True))


# --- one message ---
def test_a_message_opens_a_conversation_of_that_person_in_that_chat() -> None:
    assert take(update(1, "hello")) == "message"
    found = talk()
    assert (found.channel, found.chat_id, found.user_id, found.title) == ("telegram", 7, 7, "Ада")
    assert found.metadata == {"username": "ada", "language": "ru"}
    [entry] = log.history(found.pk)
    assert (entry.content, entry.external_id, entry.inbound) == ("hello", "[7, 1]", True)
    assert buffering.has_buffer(found.pk)


def test_a_burst_is_answered_once_through_the_outbox() -> None:
    for number, text in enumerate(["one", "two", "three"], 1):
        take(update(number, text))
    with agent() as asked:
        quiet()
    assert asked.bursts == [["one", "two", "three"]]
    assert Delivery.objects.get().status == "pending", "no token here: it waits, and says why"


def test_an_update_that_comes_again_changes_nothing_and_other_content_is_an_alarm() -> None:
    assert take(update(1, "first")) == "message"
    assert take(update(1, "first")) == "repeated"
    assert take(update(1, "second")) == "reused"
    assert said() == ["first"]
    assert AuditEntry.objects.get(action="channel.update_reused").status == "refused"
    assert (counted("repeated"), counted("reused")) == (1, 1)
    assert updates.take(update(1, "first of another bot", message_id=5), bot_id=2) == "message"


def test_one_message_in_two_updates_is_one_message() -> None:
    assert take(update(1, "hello", message_id=5)) == "message"
    assert take(update(2, "hello", message_id=5)) == "message_before"
    assert said() == ["hello"]


def test_what_cannot_be_committed_is_not_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(updates, "crash_point", lambda _name: (_ for _ in ()).throw(OperationalError))
        with pytest.raises(OperationalError):
            take(update(1))
    assert not ChannelUpdate.objects.exists()
    assert said() == []
    assert take(update(1)) == "message"


def test_an_update_that_breaks_us_is_kept_and_does_not_stand_in_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(buffering, "receive", lambda *_a, **_k: 1 / 0)
        assert take(update(1, "a\0b")) == "broken"
    row = ChannelUpdate.objects.get()
    assert (row.outcome, row.payload["message"]["text"]) == ("broken", "a\ufffdb")
    assert take(update(2)) == "message"
    assert take(update(1, "a\0b")) == "repeated"


def test_erasing_forgets_who_wrote_and_what_was_kept_and_still_knows_that_it_came(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    take(update(1, "secret"))
    take(update(2, "group secret", chat=GROUP))
    take(update(3, "of somebody else", chat=GROUP, **{"from": {"id": 8, "is_bot": False, "first_name": "Bo"}}))
    with monkeypatch.context() as patched:
        patched.setattr(buffering, "receive", lambda *_a, **_k: 1 / 0)
        take(update(4, "broken secret"))
        take(update(5, "broken group secret", chat=GROUP))
    for conversation_id in erasure.of_user(7):
        erasure.erase(conversation_id, by="anna", reason="asked for")
    kept = ChannelUpdate.objects.order_by("update_id").values_list("chat_id", "payload")
    assert list(kept) == [(None, None), (None, None), (-5, None), (None, None), (None, None)]
    assert take(update(1, "secret")) == "repeated"


# --- of every kind ---
@pytest.mark.parametrize(
    "body",
    [
        {"callback_query": {"id": "1", "from": {"id": 7, "is_bot": False, "first_name": "A"}, "chat_instance": "1"}},
        {"my_chat_member": {}},
        {"poll": {}},
        {"a_kind_of_the_year_2030": {"x": 1}},
        {"message_reaction": None},
        {},
    ],
)
def test_what_nobody_said_is_counted_and_acknowledged(body: dict[str, Any]) -> None:
    outcome = take({"update_id": 1, **body})
    assert outcome.startswith("ignored_")
    assert counted(outcome) == 1
    assert take({"update_id": 1, **body}) == "repeated"


@pytest.mark.parametrize("body", [{"message": "text"}, {"message": {"date": 5}}, {"message": []}, {"message": 5}])
def test_a_message_no_library_can_read_is_kept(body: dict[str, Any]) -> None:
    assert take({"update_id": 1, **body}) in {"broken", "empty"}
    assert ChannelUpdate.objects.get().update_id == 1


@pytest.mark.parametrize("raw", [{}, [], "x", None, {"update_id": "5"}, {"update_id": True}, {"update_id": 2**63}])
def test_what_is_no_update_is_refused(raw: Any) -> None:
    with pytest.raises(UnreadableError):
        take(raw)
    assert not ChannelUpdate.objects.exists()


@pytest.mark.parametrize(
    ("message", "content"),
    [
        ({"photo": [{"file_id": "a", "file_unique_id": "b", "width": 1, "height": 1}]}, "[photo]"),
        (
            {"photo": [{"file_id": "a", "file_unique_id": "b", "width": 1, "height": 1}], "caption": "my cat"},
            "[photo]\nmy cat",
        ),
        ({"voice": {"file_id": "a", "file_unique_id": "b", "duration": 12}}, "[voice message]"),
        (
            {"document": {"file_id": "a", "file_unique_id": "b", "file_name": "cv\u202efdp.exe"}},
            "[document: cvfdp.exe]",
        ),
        ({"location": {"latitude": 52.5, "longitude": 13.4}}, "[location 52.50000, 13.40000]"),
        (
            {
                "sticker": {
                    "file_id": "a", "file_unique_id": "b", "width": 1, "height": 1, "is_animated": False,
                    "is_video": False, "type": "regular", "emoji": "👍",
                }
            },
            "[sticker 👍]",
        ),
        ({"contact": {"phone_number": "+49", "first_name": "Bo"}}, "[contact: Bo +49]"),
        ({"dice": {"emoji": "🎲", "value": 6}}, "[dice 🎲 6]"),
        ({"video_note": {"file_id": "a", "file_unique_id": "b", "length": 1, "duration": 3}}, "[video note]"),
    ],
)  # fmt: skip
def test_media_is_a_placeholder_and_what_is_known_of_it(message: dict[str, Any], content: str) -> None:
    assert take(update(1, None, **message)) == "message"
    assert said() == [content]
    metadata = Message.objects.get().metadata
    assert "media" in metadata or content.startswith(("[loc", "[con", "[dice"))


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ({"new_chat_title": "x"}, "service"),
        ({"from": {"id": 9, "is_bot": True, "first_name": "bot"}, "text": "spam"}, "from_a_bot"),
        ({"is_automatic_forward": True, "text": "news"}, "forwarded_by_telegram"),
        ({"text": "\u200b \u2060"}, "blank"),
        ({"text": ""}, "blank"),
    ],
)
def test_what_is_not_said_to_the_agent_opens_nothing(message: dict[str, Any], why: str) -> None:
    assert take(update(1, **{"text": None, **message})) == why
    assert counted(why) == 1
    assert said() == []
    assert ChannelUpdate.objects.get().outcome == why


def test_a_message_without_a_sender_belongs_to_its_chat() -> None:
    raw = update(1, "news", kind="channel_post", chat={"id": -1001, "type": "channel", "title": "News"})
    del raw["channel_post"]["from"]
    assert take(raw) == "message"
    assert (talk().user_id, talk().chat_id) == (-1001, -1001)


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b"])
def test_what_the_database_cannot_hold_is_replaced_and_marked(text: str) -> None:
    assert take(update(1, text)) == "message"
    assert said() == ["a\ufffdb"]
    assert Message.objects.get().metadata["replaced_characters"] == 1


def test_a_text_that_is_far_too_long_is_cut_and_says_so() -> None:
    take(update(1, "x" * 100_000))
    [text] = said()
    assert text.endswith("[cut: 68000 characters]")
    assert Message.objects.get().metadata["cut_characters"] == 68_000


# --- bursts of a special shape ---
def test_a_long_paste_an_album_and_a_forward_with_its_comment_are_one_turn() -> None:
    shapes: list[list[dict[str, Any]]] = [
        [{"text": "x" * 4096}, {"text": "y" * 4096}, {"text": "z" * 808}],
        [
            {
                "photo": [{"file_id": "a", "file_unique_id": "b", "width": 1, "height": 1}], "media_group_id": "g",
                "caption": "the five of us" if not n else None,
            }
            for n in range(5)
        ],
        [
            {"text": "old news", "forward_origin": {"type": "hidden_user", "date": 5, "sender_user_name": "Bo"}},
            {"text": "what do you think?"},
        ],
    ]  # fmt: skip
    numbers = iter(range(1, 100))
    for shape in shapes:
        with agent() as asked:
            for message in shape:
                take(update(next(numbers), **{"text": None, **message}))
            quiet()
        assert [len(burst) for burst in asked.bursts] == [len(shape)]


# --- edits and deletions ---
def test_an_edit_changes_the_burst_and_later_it_is_only_recorded() -> None:
    take(update(1, "helo", message_id=5))
    assert take(update(2, "hello", kind="edited_message", message_id=5, edit_date=9)) == "edit"
    with agent() as asked:
        quiet()
    assert asked.bursts == [["hello"]]
    assert take(update(3, "HELLO", kind="edited_message", message_id=5, edit_date=99)) == "edit"
    quiet()
    assert said() == ["helo", "hello", "HELLO"]
    assert len(replies(talk().pk)) == 1


def test_an_older_edit_never_overwrites_a_newer_one() -> None:
    take(update(1, "one", message_id=5))
    assert take(update(3, "three", kind="edited_message", message_id=5)) == "edit"
    assert take(update(2, "two", kind="edited_message", message_id=5)) == "edit_came_late"
    assert take(update(4, "three", kind="edited_message", message_id=5)) == "edit_changes_nothing"
    with agent() as asked:
        quiet()
    assert asked.bursts == [["three"]]


def test_an_edit_whose_message_never_came_is_the_message_and_the_late_one_is_it_too() -> None:
    assert take(update(2, "hello", kind="edited_message", message_id=5)) == "message"
    assert take(update(1, "helo", message_id=5)) == "message_before"
    assert said() == ["hello"]


def test_a_business_account_is_told_of_deletions_and_speaks_for_itself() -> None:
    customer = {"business_connection_id": "b1"}
    assert take(update(1, "hello", kind="business_message", message_id=5, **customer)) == "message"
    assert talk().metadata["telegram"] == {"business_connection_id": "b1"}
    owner = {"id": 99, "is_bot": False, "first_name": "Shop"}
    assert take(update(2, "hi", kind="business_message", **{**customer, "from": owner})) == "from_the_account_itself"
    chat = {"id": 7, "type": "private", "first_name": "A"}
    gone = {"business_connection_id": "b1", "chat": chat, "message_ids": [5, 6]}
    assert take({"update_id": 3, "deleted_business_messages": gone}) == "deleted"
    assert not buffering.has_buffer(talk().pk)
    assert log.history(talk().pk) == []


# --- groups ---
GROUP = {"id": -5, "type": "group", "title": "Flat 12"}


def test_each_person_of_a_group_has_a_conversation_and_is_answered_by_a_reply() -> None:
    take(update(1, "hello", chat=GROUP))
    take(update(2, "and I", chat=GROUP, **{"from": {"id": 8, "is_bot": False, "first_name": "Bo"}}))
    titles = dict(Conversation.objects.values_list("user_id", "title"))
    assert titles == {7: "Ада · Flat 12", 8: "Bo · Flat 12"}
    assert Conversation.objects.get(user_id=8).metadata["telegram"] == {"reply_to": 2}


def test_a_group_that_becomes_a_supergroup_keeps_its_conversations() -> None:
    take(update(1, "before", chat=GROUP))
    new = {"id": -1005, "type": "supergroup", "title": "Flat 12"}
    assert take(update(2, None, chat=GROUP, migrate_to_chat_id=-1005)) == "moved"
    assert take(update(3, None, chat=new, migrate_from_chat_id=-5)) == "moved_before"
    take(update(4, "after", chat=new, message_id=1))
    take(update(5, "late, from the old one", chat=GROUP, message_id=9))
    assert Conversation.objects.count() == 1
    assert said() == ["before", "after", "late, from the old one"]
    assert ChatMove.objects.get().new_chat_id == -1005


def test_whoever_wrote_in_both_goes_on_in_the_new_one() -> None:
    take(update(1, "old", chat=GROUP))
    take(update(2, "new", chat={**GROUP, "id": -1005, "type": "supergroup"}))
    take(update(3, None, chat=GROUP, migrate_to_chat_id=-1005))
    assert talk().message_count == 1
    assert Conversation.objects.filter(chat_id=-1005).count() == 2
    take(update(4, "late", chat=GROUP, message_id=77))
    assert said()[-1] == "late"
    assert Conversation.objects.count() == 2


# --- commands ---
def test_start_greets_and_an_interview_begins_with_its_first_question() -> None:
    assert take(update(1, "/start")) == "command"
    found = talk()
    assert found.interview_step == 1
    [greeting] = replies(found.pk)
    assert "?" in greeting
    assert not buffering.has_buffer(found.pk)
    assert take(update(2, "/start")) == "command"
    assert replies(found.pk)[1] in greeting, "where we are"
    with agent() as asked:
        take(update(3, "From Oslo to Rome"))
        quiet()
    assert asked.asked[0].interview_step == 1


def test_reset_begins_anew_and_keeps_what_was_said_for_staff() -> None:
    take(update(1, "secret"))
    before = talk()
    assert take(update(2, "/reset")) == "command"
    after = talk()
    assert after.pk != before.pk
    assert (log.count(before.pk), len(log.history(before.pk, include_deleted=True))) == (0, 2)
    assert len(replies(after.pk)) == 1
    assert not buffering.has_buffer(before.pk)
    take(update(3, "hello again"))
    assert talk() == after


def test_help_and_unknown_commands_are_answered_and_never_buffered() -> None:
    for number, text in enumerate(["/help", "/nonsense", "/help@parley_test_bot"], 1):
        assert take(update(number, text)) == "command"
    assert len(replies(talk().pk)) == 3
    assert not buffering.has_buffer(talk().pk)


def test_while_staff_answer_nobody_speaks_beside_them() -> None:
    take(update(1, "hello"))
    Conversation.objects.update(mode=Mode.MANUAL)
    take(update(2, "/help"))
    assert replies(Conversation.objects.get().pk) == []


def test_a_command_that_comes_twice_is_answered_once() -> None:
    assert [take(update(1, "/help")) for _ in range(3)] == ["command", "repeated", "repeated"]
    assert len(replies(talk().pk)) == 1


# --- reading asks no database ---
def test_what_a_person_said_can_be_read_without_a_database() -> None:
    with connection.execute_wrapper(lambda *_args: pytest.fail("a query")):
        post = updates.heard(update(1, "hello"))
        assert post is not None
        assert (post.content, post.external_id) == ("hello", "[7, 1]")
        assert updates.heard({"update_id": 1, "poll": {}}) is None


def test_a_deep_update_is_no_stack_overflow() -> None:
    deep: Any = "x"
    for _ in range(900):
        deep = [deep]
    with pytest.raises(UnreadableError):
        reading.storable(deep)
    assert take({"update_id": 1, "message": {"deep": deep}}) == "broken"


# --- all at once ---
@pytest.mark.long
@pytest.mark.django_db(transaction=True)
def test_updates_delivered_three_times_in_parallel_and_out_of_order_are_messages_once() -> None:
    number = 2_000 if LONG else 200
    dice = random.Random(SEED)  # noqa: S311
    deliveries = [
        update(n, f"text {n}", chat={"id": 7 + n % 40, "type": "private"}, **{
            "from": {"id": 7 + n % 40, "is_bot": False, "first_name": "A"}})
        for n in range(1, number + 1)
    ] * 3  # fmt: skip
    dice.shuffle(deliveries)
    outcomes: Counter[str] = Counter()
    lock = threading.Lock()

    def deliver(batch: list[dict[str, Any]]) -> None:
        try:
            for raw in batch:
                outcome = take(raw)
                with lock:
                    outcomes[outcome] += 1
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(deliver, deliveries[n::8]) for n in range(8)]:
            future.result()
    assert outcomes == {"message": number, "repeated": 2 * number}
    assert sorted(said()) == sorted(f"text {n}" for n in range(1, number + 1))
    for one in Conversation.objects.all():
        indexes = [entry.message_index for entry in log.history(one.pk)]
        assert indexes == list(range(len(indexes)))
    assert ChannelUpdate.objects.count() == number


def test_a_claim_belongs_to_its_transaction() -> None:
    with transaction.atomic():
        take(update(1))
        transaction.set_rollback(True)
    assert not ChannelUpdate.objects.exists()
