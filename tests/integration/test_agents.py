"""Agents and versions: found in files, saved, published, rolled back, pinned, compared."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.db.utils import DatabaseError, IntegrityError

from agents import registry
from agents.config import ConfigInvalidError, parse
from agents.models import Agent, AgentVersion, AuditEntry, Tool
from agents.outcomes import Replied
from agents.runtime import Request
from conversations import listening, sessions
from conversations.models import Conversation, Message, MessageBuffer
from tests.conversing import agent as answering
from tests.conversing import conversation, quiet, say

pytestmark = pytest.mark.django_db

CHAT = 'kind = "chat"\nsystem_prompt = "{}"\n'
INTERVIEW = 'kind = "interview"\nquestions = ["{}"]\n'


@pytest.fixture
def folder(tmp_path: Path, settings: object) -> Path:
    settings.AGENTS_DIR = tmp_path  # type: ignore[attr-defined]
    settings.DEFAULT_AGENT = "one"  # type: ignore[attr-defined]
    (tmp_path / "one.toml").write_text(CHAT.format("first"))
    return tmp_path


@pytest.fixture
def one(folder: Path) -> Agent:
    registry.sync(by="test")
    return Agent.objects.get(name="one")


def outcomes() -> dict[str, str]:
    return {done.config_path: done.outcome for done in registry.sync(by="test")}


def deeds() -> list[str]:
    return list(AuditEntry.objects.order_by("id").values_list("action", flat=True))


# --- files ---


def test_the_demo_agents_are_loaded_once() -> None:
    assert set(outcomes().values()) == {"created"}
    before = deeds()
    assert outcomes() == {f"{name}.toml": "unchanged" for name in ("assistant", "pereezd", "relocation")}
    assert deeds() == before
    assert registry.default_agent().name == "relocation"


def test_a_changed_file_is_a_new_version_that_speaks(folder: Path, one: Agent) -> None:
    (folder / "one.toml").write_text(CHAT.format("second"))
    assert outcomes() == {"one.toml": "updated"}
    assert registry.version_for(one.pk).config.system_prompt == "second"
    assert outcomes() == {"one.toml": "unchanged"}


def test_a_changed_file_does_not_overrule_staff(folder: Path, one: Agent) -> None:
    registry.publish(one, registry.save_version(one, CHAT.format("by staff"), by="staff").version, by="staff")
    assert outcomes() == {"one.toml": "unchanged"}
    (folder / "one.toml").write_text(CHAT.format("second"))
    assert outcomes() == {"one.toml": "waiting"}
    assert registry.version_for(one.pk).config.system_prompt == "by staff"
    registry.publish(one, 3, by="staff")
    assert registry.version_for(one.pk).config.system_prompt == "second"


def test_a_broken_file_stops_no_other_and_changes_nothing(folder: Path, one: Agent) -> None:
    (folder / "one.toml").write_text("kind = ")
    (folder / "two.toml").write_text(CHAT.format("two"))
    (folder / "zero.toml").write_bytes(b'kind = "\xff"')
    assert outcomes() == {"one.toml": "invalid", "two.toml": "created", "zero.toml": "invalid"}
    assert registry.version_for(one.pk).config.system_prompt == "first"


def test_only_registered_tools_may_be_named(folder: Path) -> None:
    (folder / "one.toml").write_text('kind = "chat"\ntools = ["later"]')
    done = registry.sync(by="test")[0]
    registered = ", ".join(sorted(tool.name for tool in Tool.objects.all()))
    assert done.problems == (f"tools: there is no tool later; registered: {registered}.",)
    Tool.objects.create(name="later", module_path="tests.some_tools.harmless")
    assert outcomes() == {"one.toml": "created"}


def test_the_default_agent_is_there_before_anybody_synced(folder: Path) -> None:
    assert registry.version_for(None).config.system_prompt == "first"
    assert registry.find("one") == registry.default_agent()


def test_an_agent_that_is_off_takes_no_new_conversations(one: Agent) -> None:
    assert registry.switch(one, on=False, by="staff")
    assert not registry.switch(one, on=False, by="staff")
    with pytest.raises(registry.AgentNotFoundError, match="No agent 'one' takes conversations; those that do: none"):
        registry.find("one")
    assert registry.version_for(one.pk).version == 1  # whoever talks to it is answered


# --- versions ---


def test_a_refused_configuration_leaves_no_trace(one: Agent) -> None:
    before = deeds()
    with pytest.raises(ConfigInvalidError):
        registry.save_version(one, {"kind": "interview"}, by="staff")
    assert AgentVersion.objects.count() == 1
    assert deeds() == before


def test_publish_and_roll_back_move_a_pointer(one: Agent) -> None:
    for text in ("second", "third"):
        registry.publish(one, registry.save_version(one, CHAT.format(text), by="staff").version, by="staff")
    assert registry.rollback(one, by="staff").active_version == 2
    assert registry.rollback(one, by="staff").active_version == 1
    with pytest.raises(registry.VersionNotFoundError, match="no version before 1"):
        registry.rollback(one, by="staff")
    with pytest.raises(registry.VersionNotFoundError, match="no version 9"):
        registry.publish(one, 9, by="staff")
    assert AgentVersion.objects.filter(agent=one).count() == 3
    assert deeds()[-4:] == ["agent.save_version", "agent.publish", "agent.rollback", "agent.rollback"]
    last = AuditEntry.objects.latest("id")
    assert (last.actor, last.subject_id, last.details) == (
        "staff", "one", {"before": {"version": 2}, "after": {"version": 1}},
    )  # fmt: skip


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE agent_versions SET config = '{}'",
        "UPDATE agent_versions SET version = 5",
        "DELETE FROM agent_versions",
        "TRUNCATE agent_versions CASCADE",
    ],
)
def test_a_version_never_changes(one: Agent, statement: str) -> None:
    refused = pytest.raises(DatabaseError, match="agent_versions is append-only")
    with refused, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


def test_what_speaks_is_a_version_that_exists(one: Agent) -> None:
    with pytest.raises(IntegrityError, match="agents_active_version_fk"), transaction.atomic():
        Agent.objects.filter(pk=one.pk).update(active_version=2, version=2)
    with pytest.raises(IntegrityError, match="agents_versions_counted"), transaction.atomic():
        Agent.objects.filter(pk=one.pk).update(active_version=2)
    with pytest.raises(IntegrityError, match="conversations_agent_fk"), transaction.atomic():
        Conversation.objects.create(user_id=1, agent_id=uuid4())


def test_a_diff_names_the_lines(one: Agent) -> None:
    saved = registry.save_version(one, 'kind = "chat"\nsystem_prompt = """a\nb"""', by="staff")
    lines = registry.diff(registry.version(one, 1), saved)
    assert '-system_prompt = "first"' in lines
    assert {"+system_prompt =", "+    a", "+    b"} <= set(lines)
    assert registry.diff(saved, saved) == []


@pytest.mark.django_db(transaction=True)
def test_two_who_save_at_once_get_two_numbers(folder: Path) -> None:
    registry.sync(by="test")
    agent = Agent.objects.get(name="one")

    def work() -> None:
        try:
            for number in range(5):
                registry.save_version(agent, CHAT.format(number), by="staff")
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(agent.versions.values_list("version", flat=True)) == list(range(1, 22))


@pytest.mark.django_db(transaction=True)
def test_two_who_sync_at_once_make_one_agent(folder: Path) -> None:
    def work() -> None:
        try:
            registry.sync(by="test")
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert AgentVersion.objects.count() == Agent.objects.count() == 1
    assert deeds() == ["agent.create"]


# --- who wrote what ---


def speaks(request: Request) -> Replied:
    speaking = registry.version_for(request.agent_id, request.pinned)
    said = speaking.config.system_prompt or speaking.config.questions[0]
    return Replied(said, trace={"agent_version": speaking.version})


def versions_of(conversation_id: object) -> list[int | None]:
    found = Message.objects.filter(conversation_id=conversation_id, role="assistant").order_by("message_index")
    return list(found.values_list("agent_version", flat=True))


def test_after_a_rollback_the_next_message_carries_the_older_version(one: Agent) -> None:
    registry.publish(one, registry.save_version(one, CHAT.format("second"), by="staff").version, by="staff")
    talk = conversation(agent_id=one.pk)
    with answering(answers=speaks):
        say(talk, "a")
        quiet()
        registry.rollback(one, by="staff")
        say(talk, "b")
        quiet()
    assert versions_of(talk) == [2, 1]
    replies = Message.objects.filter(conversation_id=talk, role="assistant").order_by("message_index")
    assert [message.content for message in replies] == ["second", "first"]


def test_an_interview_keeps_the_version_it_began_with(folder: Path) -> None:
    (folder / "one.toml").write_text(INTERVIEW.format("old?"))
    registry.sync(by="test")
    one = Agent.objects.get(name="one")
    begun, later = conversation(agent_id=one.pk), conversation(agent_id=one.pk)
    with answering(answers=speaks):
        say(begun, "a")
        quiet()
        registry.publish(one, registry.save_version(one, INTERVIEW.format("new?"), by="staff").version, by="staff")
        say(begun, "b")
        say(later, "c")
        quiet()
    assert versions_of(begun) == [1, 1]
    assert versions_of(later) == [2]


def test_a_pin_names_a_version_that_exists(one: Agent) -> None:
    talk = conversation(agent_id=one.pk)
    with pytest.raises(IntegrityError, match="conversations_agent_version_fk"), transaction.atomic():
        Conversation.objects.filter(pk=talk).update(agent_version=7)


# --- the command ---


def run(*words: str) -> str:
    out = io.StringIO()
    call_command("agents", *words, stdout=out)
    return out.getvalue()


def test_the_command_syncs_lists_shows_publishes_and_rolls_back(folder: Path) -> None:
    assert "one.toml" in run("sync")
    (folder / "one.toml").write_text(CHAT.format("second"))
    assert "updated version 2" in run("sync")
    assert "version 2 of 2" in run("list")
    assert 'system_prompt = "second"' in run("show", "one")
    assert '-system_prompt = "first"' in run("show", "one", "--against", "1")
    assert "version 1" in run("rollback", "one")
    assert "version 2" in run("publish", "one", "2")
    assert AuditEntry.objects.latest("id").actor.startswith("cli:")


def test_the_command_says_what_is_wrong(folder: Path) -> None:
    with pytest.raises(CommandError, match="There is no agent nobody; known: none; run `manage"):
        run("show", "nobody")
    (folder / "one.toml").write_text("kind = 5")
    with pytest.raises(CommandError, match="Some files were refused"):
        run("sync")


def test_configurations_are_stored_with_their_defaults(one: Agent) -> None:
    assert registry.version(one, 1).config == parse(CHAT.format("first")).as_json()


@pytest.mark.parametrize("named", [True, False])
def test_a_burst_waits_as_long_as_its_agent_says(folder: Path, settings: object, named: bool) -> None:
    (folder / "slow.toml").write_text(CHAT + "[debounce]\ndebounce = 17\n", encoding="utf-8")
    settings.DEFAULT_AGENT = "slow"  # type: ignore[attr-defined]
    slow = registry.create("slow", "slow.toml", by="anna")
    chat = sessions.open(1, agent_id=slow.pk if named else None)[0].pk
    listening.forget_all()
    say(chat, "Hi")
    burst = MessageBuffer.objects.get(conversation=chat)
    assert round((burst.flush_at - burst.last_updated_at).total_seconds()) == 17
