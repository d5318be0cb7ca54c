"""Every source of the old world becomes the same conversations: order, times, deletions, people, nothing left out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import call_command

from conversations import log
from conversations.legacy.detecting import source_of
from conversations.legacy.errors import OptionError, SourceUnreachableError, UnknownFormatError
from conversations.legacy.sources import Options
from conversations.models import Conversation, ImportStatus, Message
from tests.old_world import BLOBS, FLAT, SESSIONS, Old, bring, file, old_database, reasons, rehearse, said

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def old(transactional_db: None) -> Iterator[Old]:
    with old_database() as world:
        yield world


def test_a_flat_table_keeps_order_times_and_deletions(old: Old) -> None:
    old.run(FLAT).say(7, "user", "one", "2024-05-01 10:00").say(8, "user", "other")
    old.say(7, "assistant", "two", "2024-05-01 09:00", deleted="2024-06-01 00:00").say(7, "user", "three")
    batch = bring(old.url)
    assert (batch.status, batch.kind, batch.brought) == (ImportStatus.DONE, "messages", 4)
    talk = Conversation.objects.get(chat_id=7)
    found = log.history(talk.pk, include_deleted=True)
    assert [(entry.role, entry.content) for entry in found] == [
        ("user", "one"),
        ("assistant", "two"),
        ("user", "three"),
    ]
    assert found[0].created_at == datetime(2024, 5, 1, 10, tzinfo=UTC)
    assert found[1].deleted_at == datetime(2024, 6, 1, tzinfo=UTC)
    assert (talk.user_id, talk.visible_count, talk.deleted_count) == (7, 2, 1)
    assert talk.last_message_at == datetime(2024, 5, 1, 10, tzinfo=UTC)
    assert set(Message.objects.values_list("import_id", "inbound")) == {(batch.pk, False)}


def test_a_table_with_names_of_its_own_is_read_by_a_mapping(old: Old) -> None:
    old.run(
        "CREATE TABLE chatter (nr uuid DEFAULT gen_random_uuid(), room text, who text, says text, t bigint, mood text)"
    )
    old.run("INSERT INTO chatter VALUES (DEFAULT, 'a', 'human', 'second', 1700000060000, 'glad')")
    old.run("INSERT INTO chatter VALUES (DEFAULT, 'a', 'bot', 'first', 1700000000000, NULL)")
    columns = {"conversation": "room", "role": "who", "content": "says", "created_at": "t", "id": "nr"}
    bring(old.url, "messages", options=Options(table="chatter", columns=columns))
    assert said() == [("assistant", "first"), ("user", "second")]
    assert Message.objects.get(content="second").metadata["mood"] == "glad"
    assert Message.objects.get(content="first").created_at == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)


def test_sessions_keep_their_arrays_in_order(old: Old) -> None:
    old.run(SESSIONS)
    old.session(
        "s10", [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], user="ann@example.org"
    )
    old.session("s9", [{"role": "user", "content": "c"}]).session("empty", []).session(
        "text", json.dumps([{"role": "user", "content": "d"}])
    )
    batch = bring(old.url)
    assert (batch.kind, batch.brought, Conversation.objects.count()) == ("chat_sessions", 4, 4)
    talk = Conversation.objects.get(metadata__import__key="s10")
    assert [entry.content for entry in log.history(talk.pk)] == ["a", "b"]
    assert talk.user_id < 0, "a name becomes a number that no messenger gives"
    assert talk.metadata["import"]["user"] == "ann@example.org"


@pytest.mark.parametrize("column", ["json", "text"])
def test_a_blob_need_not_be_jsonb(old: Old, column: str) -> None:
    old.run(f"CREATE TABLE chat_sessions (id int, messages {column})")
    old.run(
        "INSERT INTO chat_sessions VALUES (1, %s), (2, NULL), (3, 'null')", '[{"role":"user","content":"x\\u0000y"}]'
    )
    batch = bring(old.url)
    assert said() == [("user", "x\N{REPLACEMENT CHARACTER}y")]
    assert (batch.rejected, Conversation.objects.count()) == (0, 3)


def test_the_source_is_opened_for_reading_alone(old: Old) -> None:
    old.run(FLAT).say(1, "user", "x")
    source: Any = source_of(old.url, None, Options())
    with source.connected() as db, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        db.execute("DELETE FROM messages")


def test_the_latest_of_several_sessions_goes_on(old: Old) -> None:
    old.run(BLOBS)
    for day in (1, 3, 2):
        old.run(
            "INSERT INTO conversations (user_id, chat_id, messages, updated_at) VALUES (5, 5, %s, %s)",
            json.dumps([{"role": "user", "content": f"day {day}"}]),
            f"2024-01-0{day}",
        )
    bring(old.url, channel="telegram")
    live = Conversation.objects.live().get(channel="telegram", chat_id=5, user_id=5)
    assert [entry.content for entry in log.history(live.pk)] == ["day 3"]


TELEGRAM = {
    "name": "Ann", "type": "personal_chat", "id": 4711,
    "messages": [
        {"id": 1, "type": "service", "date": "2024-01-01T10:00:00", "date_unixtime": "1704103200", "actor": "Ann",
         "actor_id": "user4711", "action": "phone_call", "text": ""},
        {"id": 2, "type": "message", "date": "2024-01-01T10:01:00", "date_unixtime": "1704103260", "from": "Ann",
         "from_id": "user4711", "text": ["see ", {"type": "link", "text": "https://example.org"}, " !"],
         "text_entities": [{"type": "plain", "text": "see "}], "edited": "2024-01-01T10:05:00"},
        {"id": 3, "type": "message", "date": "2024-01-01T10:02:00", "date_unixtime": "1704103320", "from": "Me",
         "from_id": "user1", "reply_to_message_id": 2, "forwarded_from": "Bob", "text": "thanks"},
        {"id": 4, "type": "message", "date": "2024-01-01T10:03:00", "date_unixtime": "1704103380", "from": "Ann",
         "from_id": "user4711", "photo": "photos/1.jpg", "width": 10, "text": ""},
    ],
}  # fmt: skip


@pytest.mark.parametrize("whole_account", [False, True])
def test_a_telegram_export_keeps_what_was_around_the_text(tmp_path: Path, whole_account: bool) -> None:
    account = {"personal_information": {"user_id": 1}, "chats": {"about": "", "list": [TELEGRAM]}}
    path = file(tmp_path, account if whole_account else TELEGRAM, "result.json")
    batch = bring(path, channel="telegram")
    assert (batch.kind, batch.rejected) == ("telegram", 0)
    assert said() == [
        ("system", "Ann: phone call"), ("user", "see https://example.org !"), ("assistant", "thanks"), ("user", "")
    ]  # fmt: skip
    talk = Conversation.objects.get()
    assert (talk.chat_id, talk.user_id, talk.title, talk.channel) == (4711, 4711, "Ann", "telegram")
    kept = {entry.external_id: entry.metadata["telegram"] for entry in log.history(talk.pk)}
    assert kept["2"]["edited"] == "2024-01-01T10:05:00"
    assert kept["2"]["text_entities"]
    assert (kept["3"]["reply_to_message_id"], kept["3"]["forwarded_from"]) == (2, "Bob")
    assert kept["4"]["photo"] == "photos/1.jpg"
    assert log.history(talk.pk)[0].created_at == datetime(2024, 1, 1, 10, tzinfo=UTC)


def test_the_bot_in_a_chat_with_a_bot_is_the_assistant(tmp_path: Path) -> None:
    chat = {**TELEGRAM, "type": "bot_chat", "messages": TELEGRAM["messages"][1:3]}  # type: ignore[index]
    bring(file(tmp_path, chat))
    assert [role for role, _text in said()] == ["assistant", "user"]


def test_a_chatgpt_export_shows_the_branch_that_was_shown(tmp_path: Path) -> None:
    def node(id_: str, parent: str | None, role: str, text: str) -> dict[str, Any]:
        message = {"id": id_, "author": {"role": role}, "content": {"content_type": "text", "parts": [text]}}
        return {"id": id_, "parent": parent, "message": message}

    nodes = [node("a", None, "user", "why"), node("b", "a", "assistant", "bad"), node("c", "a", "assistant", "good")]
    tree = {"conversation_id": "t", "title": "T", "current_node": "c", "mapping": {one["id"]: one for one in nodes}}
    batch = bring(file(tmp_path, [tree], "conversations.json"))
    assert said() == [("user", "why"), ("assistant", "good")]
    assert (batch.kind, reasons(batch)) == ("chatgpt", ["branch"])


MESSAGES = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]


@pytest.mark.parametrize(
    ("content", "name", "conversations"),
    [
        (MESSAGES, "array.json", 1),
        ([{"id": 1, "messages": MESSAGES}, {"id": 2, "messages": MESSAGES}], "conversations.json", 2),
        ([MESSAGES, MESSAGES], "nested.json", 2),
        ({"messages": MESSAGES}, "one.json", 1),
        ("\n".join(json.dumps({"messages": MESSAGES}) for _ in range(3)), "tuning.jsonl", 3),
        ("\n\n".join(json.dumps(message) for message in MESSAGES), "lines.ndjson", 1),
        ("\n".join(json.dumps({**m, "session_id": s}) for m in MESSAGES for s in "xyz"), "flat.jsonl", 3),
        (b"\xef\xbb\xbf" + json.dumps(MESSAGES, indent=2).encode(), "bom.json", 1),
        ([{"type": "human", "data": {"content": "a"}}, {"type": "ai", "data": {"content": "b"}}], "chain.json", 1),
        (
            [
                {
                    "dialogue_id": n,
                    "turns": [{"speaker": "USER", "utterance": "a"}, {"speaker": "bot", "utterance": "b"}],
                }
                for n in range(2)
            ],
            "schema_guided.json",
            2,
        ),
    ],
)
def test_json_is_understood_in_the_shapes_people_have(
    tmp_path: Path, content: Any, name: str, conversations: int
) -> None:
    batch = bring(file(tmp_path, content, name))
    assert Conversation.objects.count() == conversations
    assert said() == [("user", "a"), ("assistant", "b")] * conversations
    assert (batch.kind, batch.rejected) == ("json", 0)


def test_a_public_data_set_of_trees_is_read_by_a_mapping(tmp_path: Path) -> None:
    """Lines as OpenAssistant publishes them, with the command of docs/import.md."""
    lines = [
        {"message_id": "a", "parent_id": None, "message_tree_id": "a", "created_date": "2023-02-05T14:23:50.98+00:00",
         "text": "Can you write?", "role": "prompter", "lang": "en", "user_id": "2c96e467", "deleted": False},
        {"message_id": "b", "parent_id": "a", "message_tree_id": "a", "created_date": "2023-02-05T14:24:50+00:00",
         "text": "Yes.", "role": "assistant", "lang": "en", "user_id": "1", "deleted": True},
    ]  # fmt: skip
    path = str(file(tmp_path, "\n".join(map(json.dumps, lines)), "oasst.jsonl"))
    mapping = ["conversation=message_tree_id", "created_at=created_date"]
    call_command("import_conversations", path, format="json", map=mapping, role=["prompter=user"], stdout=StringIO())
    talk = Conversation.objects.get()
    found = log.history(talk.pk, include_deleted=True)
    assert [(entry.role, entry.content, entry.external_id) for entry in found] == [
        ("user", "Can you write?", "a"), ("assistant", "Yes.", "b")
    ]  # fmt: skip
    assert found[0].metadata["lang"] == "en"
    assert (found[0].created_at.year, found[0].deleted_at, talk.deleted_count) == (2023, None, 1)


UTTERANCES = [
    {"index": 0, "speaker": "user", "text": "Two mochas, please.", "segments": [],
     "annotations": [{"name": "api_call", "value": "get_menu_items", "context": "api_call_0"}]},
    {"index": 1, "speaker": "assistant", "text": "Check the screen.", "segments": [], "annotations": []},
]  # fmt: skip


def test_a_public_data_set_of_spoken_orders_is_read_as_it_is(tmp_path: Path) -> None:
    """In the shape of Taskmaster-4, with the commands of docs/import.md: a look, an import, and a second one."""
    talks = [
        {"conversation_id": f"dlg-{n}", "vertical": "Coffee", "scenario": f"Template {n}", "utterances": UTTERANCES}
        for n in range(3)
    ]
    path, out = str(file(tmp_path, json.dumps(talks, indent=4), "orders.json")), StringIO()
    for options in ({"dry_run": True}, {}, {}):
        call_command("import_conversations", path, map=["title=scenario"], stdout=out, **options)
    assert said() == [("user", "Two mochas, please."), ("assistant", "Check the screen.")] * 3
    assert sorted(Conversation.objects.values_list("title", flat=True)) == ["Template 0", "Template 1", "Template 2"]
    assert Message.objects.filter(metadata__annotations__0__value="get_menu_items").count() == 3
    assert Conversation.objects.get(title="Template 1").metadata["vertical"] == "Coffee"
    told = [line.split()[-1] for line in out.getvalue().splitlines() if line.startswith(("brought", "known", "reject"))]
    assert told == ["6", "0", "0", "6", "0", "0", "0", "6", "0"]


def test_names_inside_of_names_are_mapped_and_what_is_around_them_stays(tmp_path: Path) -> None:
    turns = [{"by": {"kind": "user", "device": "phone"}, "said": {"text": {"en": "a", "de": "A"}}}]
    talks = [{"head": {"number": 7, "place": "Riga"}, "body": {"turns": turns, "length": 1}}]
    mapping = {
        "messages": "body.turns", "conversation": "head.number", "role": "by.kind", "content": "said.text.en"
    }  # fmt: skip
    bring(file(tmp_path, talks), options=Options(columns=mapping))
    assert said() == [("user", "a")]
    kept = Message.objects.get().metadata
    assert (kept["by"], kept["said"]) == ({"device": "phone"}, {"text": {"de": "A"}})
    talk = Conversation.objects.get().metadata
    assert (talk["import"]["key"], talk["head"], talk["body"]) == ("[7]", {"place": "Riga"}, {"length": 1})


def test_a_list_of_another_name_is_told_with_the_option_that_names_it(tmp_path: Path) -> None:
    path = file(tmp_path, [{"id": 1, "lines": MESSAGES}])
    assert (
        rehearse(path)
        .problems["not_a_message"]
        .examples[0]
        .endswith("--map messages=lines, if that is its list of messages")
    )
    bring(path, options=Options(columns={"messages": "lines"}))
    assert said() == [("user", "a"), ("assistant", "b")]


def test_a_large_object_without_a_list_at_its_top_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conversations.legacy.sources.json_messages.TAKEN_WHOLE", 10)
    path = file(tmp_path, {"id": 1, "inner": {"lines": MESSAGES}})
    assert rehearse(path).problems["not_a_message"].count == 1
    bring(path, options=Options(columns={"messages": "inner.lines"}))
    assert said() == [("user", "a"), ("assistant", "b")]


def test_a_large_object_is_entered_and_not_taken_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("conversations.legacy.sources.json_messages.TAKEN_WHOLE", 10)
    monkeypatch.setattr("conversations.legacy.json_stream.BLOCK", 7)
    bring(file(tmp_path, {"id": 3, "title": "Deep", "messages": MESSAGES}))
    assert said() == [("user", "a"), ("assistant", "b")]
    assert Conversation.objects.get().title == "Deep"


@pytest.mark.parametrize(
    ("where", "kind", "error"),
    [
        ("postgresql://nobody:hidden@127.0.0.1:1/none", None, SourceUnreachableError),
        ("postgresql://[:::", None, OptionError),
        ("missing.json", None, SourceUnreachableError),
        ("missing.json", "messages", OptionError),
        ("postgresql://u@h/d", "telegram", OptionError),
        ("anything", "nonsense", UnknownFormatError),
    ],
)
def test_what_cannot_be_opened_is_said_without_a_password(where: str, kind: str | None, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        source_of(where, kind, Options())
    assert "hidden" not in str(caught.value)


def test_what_looks_like_nothing_is_refused(old: Old, tmp_path: Path) -> None:
    with pytest.raises(UnknownFormatError, match="--table"):
        source_of(old.url, None, Options())
    with pytest.raises(UnknownFormatError, match="JSON"):
        source_of(str(file(tmp_path, "hello")), None, Options())
    old.run("CREATE TABLE odd (content text)")
    with pytest.raises(OptionError, match="--map role=COLUMN"):
        source_of(old.url, "messages", Options(table="odd"))


def test_a_rehearsal_reads_everything_and_writes_nothing(old: Old) -> None:
    old.run(FLAT).say(1, "user", "x").say(1, "robot", "y").say(2, "user", "z", at=None)
    report = rehearse(old.url)
    assert (report.conversations, report.opened, report.read, report.brought, report.rejected) == (2, 2, 3, 2, 1)
    assert report.problems["role"].examples == ['chat ["1", "1"] message 1: role robot']
    assert not Conversation.objects.exists()
    bring(old.url)
    again = rehearse(old.url)
    assert (again.brought, again.known, again.opened, again.conversations) == (0, 2, 0, 2)
