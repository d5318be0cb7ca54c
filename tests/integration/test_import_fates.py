"""Whatever an old system has stored has a defined fate: stored, repaired with a note, or kept as a reject."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from conversations import log, sessions
from conversations.buffering import receive
from conversations.legacy import cleaning, retrying
from conversations.legacy.cleaning import Rules
from conversations.legacy.detecting import source_of
from conversations.legacy.errors import LegacyError
from conversations.legacy.sources import Options
from conversations.models import Conversation, ImportBatch, ImportReject, ImportStatus, Message, MessageBuffer
from conversations.reconcile import account
from tests import raw
from tests.api import Caller
from tests.conversing import agent, quiet
from tests.old_world import BLOBS, FLAT, SESSIONS, Old, bring, file, old_database, reasons, said

pytestmark = pytest.mark.django_db(transaction=True)
HOLE = "\N{REPLACEMENT CHARACTER}"
DEEP = "[" * 200_000 + "]" * 200_000


@pytest.fixture
def old(transactional_db: None) -> Iterator[Old]:
    with old_database() as world:
        yield world


def one(folder: Path, message: Any) -> Any:
    """A file of that message between two good ones."""
    good = {"role": "user", "content": "good"}
    return bring(file(folder, [good, message, good]))


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"role": "robot", "content": "x"}, "role"),
        ({"role": None, "content": "x"}, "role"),
        ({"role": ["user"], "content": "x"}, "role"),
        ({"content": "x"}, "role"),
        ({"role": "user", "content": None}, "content"),
        ({"role": "user"}, "content"),
        ({"role": "user", "content": 7}, "content"),
        ({"role": "user", "content": []}, "content"),
        ({"role": "user", "content": [["x"]]}, "content"),
        ([{"role": "user", "content": "x"}], "not_a_message"),
        ("text", "not_a_message"),
        (None, "not_a_message"),
    ],
)
def test_what_is_no_message_is_kept_with_its_reason(tmp_path: Path, message: Any, reason: str) -> None:
    batch = one(tmp_path, message)
    assert said() == [("user", "good")] * 2
    assert (reasons(batch), batch.read, batch.brought, batch.rejected) == ([reason], 3, 2, 1)
    kept = json.loads(ImportReject.objects.get().payload)
    assert kept == message if not isinstance(message, dict) else kept["content"] == message.get("content")


@pytest.mark.parametrize(
    ("message", "stored", "note"),
    [
        ({"role": "user", "content": "a\0b"}, ("user", f"a{HOLE}b"), "nul"),
        ({"role": "user", "content": "a\ud800b"}, ("user", f"a{HOLE}b"), "surrogate"),
        ({"role": "user", "content": ""}, ("user", ""), "time"),
        ({"role": " Human ", "content": "x"}, ("user", "x"), "time"),
        ({"role": "function", "content": "x"}, ("tool", "x"), "time"),
        ({"role": "assistant", "content": None, "tool_calls": [{"id": 1}]}, ("assistant", ""), "time"),
        ({"role": "user", "content": ["x", "y"]}, ("user", "x\ny"), "time"),
        ({"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "image_url"}]}, ("user", "x"), "time"),
        ({"role": "user", "content": "x", "timestamp": "no time"}, ("user", "x"), "time"),
        ({"role": "user", "content": "x", "timestamp": 1e300}, ("user", "x"), "time"),
        ({"role": "user", "content": "x", "score": "\0", "more": {"\ud800": ["\udfff"]}}, ("user", "x"), "time"),
    ],
)
def test_what_can_be_repaired_is_stored_with_a_note(tmp_path: Path, message: Any, stored: Any, note: str) -> None:
    batch = one(tmp_path, message)
    assert said() == [("user", "good"), stored, ("user", "good")]
    assert (batch.status, batch.rejected) == (ImportStatus.DONE, 0)
    assert batch.report["problems"][note]["count"] >= 1


def test_a_repaired_text_keeps_its_original(tmp_path: Path) -> None:
    one(tmp_path, {"role": "user", "content": "a\0b"})
    told = Message.objects.get(message_index=1).metadata["import"]
    assert (told["replaced"], json.loads(told["original"])) == (1, "a\0b")


def test_numbers_that_json_does_not_know_are_kept_as_text(tmp_path: Path) -> None:
    bring(file(tmp_path, '[{"role": "user", "content": "x", "score": NaN, "rate": 1e999}]'))
    assert Message.objects.get().metadata == {"score": "NaN", "rate": "inf", "import": {"time": "missing"}}


def test_metadata_that_postgresql_refuses_is_kept_as_text(tmp_path: Path) -> None:
    number = "9" * 4_000 + "e200000"
    bring(file(tmp_path, '[{"role": "user", "content": "x", "m": {"n": ' + number.replace("e", "") + "}}]"))
    assert said() == [("user", "x")]


def test_times_tie_run_backwards_and_miss_and_the_order_stays(old: Old) -> None:
    old.run(FLAT)
    times = ["2024-01-01 10:00", "2024-01-01 10:00", None, "2020-01-01", "2199-01-01", "infinity"]
    for number, at in enumerate(times):
        old.say(1, "user", str(number), at)
    batch = bring(old.url)
    talk = Conversation.objects.get()
    found = log.history(talk.pk)
    assert [entry.content for entry in found] == [str(number) for number in range(len(times))]
    years = [entry.created_at.year for entry in found]
    assert years == [2024, 2024, 2024, 2020, 2199, 2199]
    assert talk.last_message_at is not None
    assert talk.last_message_at <= datetime.now(UTC), "a wrong time must not keep a conversation on top of the list"
    assert (batch.status, batch.report["problems"]["time"]["count"]) == (ImportStatus.DONE, 2)


def test_an_id_that_comes_twice_is_stored_once_and_its_other_message_is_kept(tmp_path: Path) -> None:
    messages = [{"id": "a", "role": "user", "content": text} for text in ("x", "x", "other")]
    batch = bring(file(tmp_path, messages))
    assert said() == [("user", "x")]
    assert (batch.brought, batch.known, reasons(batch)) == (1, 1, ["duplicate_id"])


def test_an_id_that_comes_again_in_a_later_chunk_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("conversations.legacy.batches.chunks", _small(2))
    texts = ["x", "y", "z", "x", "w"]
    batch = bring(file(tmp_path, [{"id": text, "role": "user", "content": text} for text in texts]))
    assert said() == [("user", text) for text in "xyzw"]
    assert (batch.brought, batch.known) == (4, 1)


@pytest.mark.parametrize("line", ['{"role": "user", "content": "x"', "nonsense", DEEP, '{"role": "user"} trailing'])
def test_a_broken_line_is_kept_and_the_next_is_read(tmp_path: Path, line: str) -> None:
    good = json.dumps({"role": "user", "content": "good"})
    batch = bring(file(tmp_path, "\n".join([good, line, good]), "old.jsonl"))
    assert said() == [("user", "good")] * 2
    assert reasons(batch) == ["broken_json"]


@pytest.mark.parametrize("most", [1, 2, 3, 4, 5])
def test_a_file_that_breaks_off_says_so_wherever_the_chunks_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """What is behind the last place of a file is not what was written there before."""
    monkeypatch.setattr("conversations.legacy.batches.chunks", _small(most))
    good = json.dumps({"role": "user", "content": "good"})
    batch = bring(file(tmp_path, f"[{good}, {good}, {good}, {good[:-4]}"))
    assert said() == [("user", "good")] * 3
    assert (reasons(batch), batch.read, batch.rejected) == (["broken_json"], 4, 1)
    ImportBatch.objects.update(status=ImportStatus.RUNNING)  # as if it was killed before its end
    batch = bring(file(tmp_path, f"[{good}, {good}, {good}, {good[:-4]}"))
    assert (reasons(batch), batch.read, batch.rejected) == (["broken_json"], 4, 1)


def test_a_file_that_breaks_off_is_read_up_to_there_and_says_so(tmp_path: Path) -> None:
    good = json.dumps({"role": "user", "content": "good"})
    batch = bring(file(tmp_path, f"[{good}, {good}, {good[:-4]}"))
    assert said() == [("user", "good")] * 2
    detail = ImportReject.objects.get(batch=batch).detail
    assert re.fullmatch(r"[^:]+ at character \d+; nothing behind it was read", detail), detail
    assert "at at" not in detail


def test_a_blob_that_is_no_list_is_kept(old: Old) -> None:
    old.run(SESSIONS).session("object", {"a": 1}).session("number", 7).session(
        "good", [{"role": "user", "content": "x"}]
    )
    batch = bring(old.url)
    assert (reasons(batch), said()) == (["not_a_list", "not_a_list"], [("user", "x")])


def test_a_message_of_fifty_megabytes_is_stored_whole(tmp_path: Path) -> None:
    size = 50 * 1024 * 1024
    bring(file(tmp_path, [{"role": "user", "content": "x" * size}]), rules=Rules.made({}, UTC, longest=size))
    assert Message.objects.values_list("character_count", flat=True).get() == size


def test_a_message_beyond_what_a_page_can_show_is_rejected_with_the_way_in(tmp_path: Path) -> None:
    longest = cleaning.LONGEST
    message = {"role": "user", "content": "x" * (longest + 1)}
    assert reasons(one(tmp_path, message)) == ["too_large"]
    assert f"--longest {longest + 1}" in ImportReject.objects.get().detail


def test_bytes_that_are_no_utf8_are_repaired(tmp_path: Path) -> None:
    bring(file(tmp_path, b'[{"role": "user", "content": "caf\xe9"}]'))
    assert said() == [("user", f"caf{HOLE}")]


def test_rejects_are_stored_once_their_role_has_a_name(tmp_path: Path) -> None:
    batch = one(tmp_path, {"role": "robot", "content": "beep", "timestamp": 1_700_000_000})
    stored, left = retrying.retry(batch.pk, Rules.made({"robot": "assistant"}, UTC), by="anna")
    assert (stored, left) == (1, 0)
    assert said()[-1] == ("assistant", "beep"), "what comes late stands at the end"
    assert Message.objects.get(content="beep").created_at.year == 2023
    batch.refresh_from_db()
    assert (batch.read, batch.brought, batch.rejected) == (3, 3, 0)
    assert retrying.retry(batch.pk, Rules(), by="anna") == (0, 0)
    assert not batch.shares.exclude(state="equal").exists()


def test_open_buffers_become_open_bursts_and_are_answered(old: Old) -> None:
    old.run(BLOBS)
    buffer = {
        "interviewStep": 2,
        "messages": [{"content": "wait", "timestamp": "2024-01-01T00:01:00Z"}, {"text": "for me"}],
    }
    blob = [{"role": "assistant", "content": "hi", "timestamp": "2024-01-01T00:00:00Z"}]
    row = "INSERT INTO conversations (user_id, chat_id, messages, metadata) VALUES (5, 5, %s, %s)"
    old.run(row, json.dumps(blob), json.dumps({"messageBuffer": buffer, "mood": "glad"}))
    batch = bring(old.url, "conversations")
    talk = Conversation.objects.get()
    assert "messageBuffer" not in talk.metadata
    open_burst = MessageBuffer.objects.get(conversation=talk)
    assert [message["content"] for message in open_burst.messages] == ["wait", "for me"]
    assert (open_burst.interview_step, batch.status) == (2, ImportStatus.DONE)
    with agent() as answering:
        quiet()
    assert answering.bursts == [["wait", "for me"]]
    assert said()[-1] == ("assistant", "wait | for me")
    assert account().holes == 0
    assert bring(old.url, "conversations").brought == 0


def test_what_waits_and_is_in_the_list_already_is_stored_once(old: Old) -> None:
    old.run(BLOBS)
    waiting = {"content": "wait", "timestamp": "2024-01-01T00:01:00Z"}
    row = "INSERT INTO conversations (user_id, chat_id, messages, metadata) VALUES (5, 5, %s, %s)"
    old.run(row, json.dumps([{"role": "user", **waiting}]), json.dumps({"messageBuffer": [waiting, {"content": " "}]}))
    bring(old.url, "conversations")
    assert said() == [("user", "wait"), ("user", " ")]
    assert [message["content"] for message in MessageBuffer.objects.get().messages] == ["wait"]


def test_what_waits_is_asked_where_the_chat_goes_on(old: Old) -> None:
    live = sessions.open(5, chat_id=5, channel="telegram")[0]
    receive(live.pk, "said here already")
    old.run(BLOBS)
    row = "INSERT INTO conversations (user_id, chat_id, messages, metadata) VALUES (5, 5, '[]', %s)"
    old.run(row, json.dumps({"messageBuffer": {"messages": [{"content": "from before"}]}}))
    batch = bring(old.url, "conversations", channel="telegram")
    assert [m["content"] for m in MessageBuffer.objects.get(conversation=live).messages] == [
        "said here already",
        "from before",
    ]
    assert Conversation.objects.exclude(pk=live.pk).get().mode == "closed"
    assert batch.report["problems"]["closed"]["count"] == 1


def test_buffers_can_be_left_to_the_old_system(old: Old) -> None:
    old.run(BLOBS)
    row = "INSERT INTO conversations (user_id, chat_id, messages, metadata) VALUES (5, 5, '[]', %s)"
    old.run(row, json.dumps({"messageBuffer": [{"content": "wait"}]}))
    bring(old.url, "conversations", rules=Rules(open_buffers=False))
    assert said() == [("user", "wait")]
    assert not MessageBuffer.objects.exists()


def nested(levels: int) -> Any:
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


def test_metadata_nested_too_deeply_to_be_shown_are_stored_as_text(tmp_path: Path, staff: Client) -> None:
    """What no page, no answer and no index could read would stay unreadable: messages are never changed."""
    deep = {"role": "user", "content": "tea", "x": nested(300), "y": nested(20)}
    batch = one(tmp_path, deep)
    assert batch.report["problems"]["deep"]["count"] == 1
    message = Message.objects.get(content="tea", import_id=batch.pk)
    assert message.metadata["y"] == nested(20)
    assert json.loads(message.metadata["import"]["metadata"]) == {"x": nested(300)}
    assert readers(message, staff) == {200}


@pytest.mark.parametrize("levels", [100, 300, 960, 5_000])
def test_a_row_that_somebody_nested_without_end_hides_no_other(levels: int, staff: Client) -> None:
    conversation = sessions.open(1)[0].pk
    log.append(conversation, "user", "before")
    with raw.connect() as db:
        deep = '{"x": ' + "[" * levels + "]" * levels + "}"
        db.execute("SELECT append_message(%s, 'user', 'deep', %s::jsonb)", [conversation, deep])
    message = Message.objects.get(content="deep", conversation_id=conversation)
    assert "unreadable" in message.metadata
    assert [entry.content for entry in log.history(conversation)] == ["before", "deep"]
    assert readers(message, staff) == {200}


def readers(message: Message, staff: Client) -> set[int]:
    chat = message.conversation_id
    return {
        Caller().call("GET", f"/sessions/{chat}/messages").status_code,
        staff.get(f"/admin/conversations/conversation/{chat}/change/").status_code,
    }


def test_replies_that_stand_in_their_message_are_read_and_those_replaced_are_told(tmp_path: Path) -> None:
    """As LibreChat exports a tree."""
    answers = [
        {"messageId": "2", "sender": "assistant", "text": "replaced"},
        {"messageId": "3", "sender": "assistant", "text": "shown", "children": [
            {"messageId": "4", "sender": "user", "text": "thanks", "children": []}]},
    ]  # fmt: skip
    question = {"messageId": "1", "sender": "user", "text": "tea?", "children": answers}
    batch = bring(file(tmp_path, {"conversationId": "c", "recursive": True, "messages": [question]}))
    assert said(import_id=batch.pk) == [("user", "tea?"), ("assistant", "shown"), ("user", "thanks")]
    assert reasons(batch) == ["branch"]


@pytest.mark.parametrize(
    "talk",
    [
        {"id": "sharegpt", "conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]},
        {"id": "open-webui", "chat": {"title": "T", "history": {}, "messages": [
            {"id": "1", "role": "user", "content": "hi"}, {"id": "2", "role": "assistant", "content": "hello"}]}},
    ],
)  # fmt: skip
def test_conversations_of_other_programs_are_read_without_a_mapping(tmp_path: Path, talk: Any) -> None:
    batch = bring(file(tmp_path, [talk]))
    assert (said(import_id=batch.pk), reasons(batch)) == ([("user", "hi"), ("assistant", "hello")], [])


def test_a_name_that_looks_like_an_address_is_told_apart_at_once() -> None:
    with pytest.raises(LegacyError):
        source_of("a=" * 60 + "a b c", None, Options())


def test_a_role_may_be_named_by_a_truth_or_a_number(tmp_path: Path) -> None:
    messages = [{"role": False, "content": "a"}, {"role": True, "content": "b"}, {"role": 1, "content": "c"}]
    named = {"false": "user", "true": "assistant", "1": "assistant"}
    batch = bring(file(tmp_path, messages), rules=Rules.made(named, UTC))
    assert said(import_id=batch.pk) == [("user", "a"), ("assistant", "b"), ("assistant", "c")]


def test_columns_of_sessions_that_nobody_asked_for_stay_in_the_metadata(old: Old) -> None:
    old.run(SESSIONS).run("ALTER TABLE chat_sessions ADD COLUMN model text DEFAULT 'gpt-4'")
    batch = bring(old.session("a", [{"role": "user", "content": "x"}]).url)
    message = Message.objects.get(import_id=batch.pk)
    assert message.conversation.metadata["model"] == "gpt-4"


def test_what_stands_in_place_of_a_list_is_named_as_json_names_it(old: Old) -> None:
    old.run(SESSIONS).session("object", {"a": 1}).session("number", 7).session("text", "hi")
    details = ImportReject.objects.filter(batch=bring(old.url)).values_list("detail", flat=True)
    assert sorted(details) == ["a number", "a text", "an object"]


def _small(most: int) -> Any:
    from conversations.legacy.chunks import chunks

    return lambda source, rules, after: chunks(source, rules, after, most=most)


text = st.text(st.characters(exclude_categories=[]), max_size=30)
roles = st.sampled_from(["user", "assistant", "system", "tool"])
messages = st.lists(
    st.fixed_dictionaries(
        {"role": roles, "content": text},
        optional={"id": text, "timestamp": st.integers(0, 4_000_000_000), "note": st.none() | text | st.floats()},
    ),
    max_size=12,
)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("kept_rows")
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(talks=st.lists(messages, max_size=3), block=st.integers(1, 40), most=st.integers(1, 9), lines=st.booleans())
@example(talks=[[{"role": "user", "content": "\ud83d\ude00\0"}]], block=1, most=1, lines=False)
def test_any_list_of_messages_comes_through_with_order_and_content(
    tmp_path_factory: pytest.TempPathFactory, talks: list[Any], block: int, most: int, lines: bool
) -> None:
    """However the blocks of the file and the chunks of the import fall."""
    folder = tmp_path_factory.mktemp("talks")
    values = [{"id": number, "messages": said} for number, said in enumerate(talks)]
    content = "\n".join(map(json.dumps, values)) if lines else json.dumps(values)
    path = file(folder, content, "old.jsonl" if lines else "old.json")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("conversations.legacy.json_stream.BLOCK", block)
        patch.setattr("conversations.legacy.batches.chunks", _small(most))
        batch = bring(path, "json", name=folder.name)
    assert batch.status == ImportStatus.DONE
    for number, wanted in enumerate(json.loads(json.dumps(talks))):
        talk = Conversation.objects.get(metadata__import__source=batch.source, metadata__import__key=f"[{number}]")
        stored = [(entry.role, entry.content) for entry in log.history(talk.pk)]
        assert stored == _expected(wanted)
    assert batch.read == sum(map(len, talks))


def _expected(wanted: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """What a reader would say: the first under each id, what cannot be stored replaced."""
    seen: set[str] = set()
    found = []
    for message in wanted:
        if message.get("id"):
            if message["id"] in seen:
                continue
            seen.add(message["id"])
        found.append((message["role"], cleaning.UNSTORABLE.sub(HOLE, message["content"])))
    return found
