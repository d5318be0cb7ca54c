"""An agent's notes: whose they are, where they come from, who sees them, and how they go."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, IntegrityError, connection, transaction

from agents import calls
from agents.calls import Asked
from agents.models import AuditEntry, ToolCall
from agents.request import Request
from agents.source import of as source_of
from agents.tools import Call
from conversations import erasure, log, sessions
from conversations.isolation import acting_as
from conversations.models import Message
from entities import keeping, lineage, loader
from entities.models import EntityChange
from entities.schema.characters import Character
from entities.schema.notes import Note
from entities.schema.projects import Project
from tests.answering import an_agent, asked, register
from tests.conversing import agent, conversation, quiet, say

pytestmark = pytest.mark.django_db(transaction=True)


def noted(user: int = 7, **values: Any) -> Note:
    """What the tool leaves when a model calls it."""
    register("save_note")
    by = an_agent(tools=["save_note"])
    call = Call(uuid4(), 1, **{"conversation_id": uuid4(), "user_id": user, "agent": by.name, **values})
    wanted = Asked("save_note", {"title": "Moving", "text": "Wants to leave in May."})
    told = calls.perform(call, wanted, calls.offered(by, ("save_note",))["save_note"])
    assert '"saved": "note ' in told, told
    return Note.objects.get(pk=told.split("note ")[1].rstrip('"}'))


def test_a_note_is_the_persons_and_names_what_it_goes_back_to() -> None:
    message, turn = uuid4(), uuid4()
    note = noted(message_id=message, agent_version=3)
    assert (note.created_by, note.title, note.message_id) == (7, "Moving", message)
    change = lineage.latest(note)["text"]
    assert (change.kind, change.agent_version, change.message_id, change.user_id) == ("agent", 3, message, 7)
    assert change.actor.startswith("tested-")
    assert change.turn_id == ToolCall.objects.get().turn_id != turn
    entry = AuditEntry.objects.get(action="entity.create")
    assert (entry.on_behalf_of, entry.subject_id) == ("user 7", str(note.pk))
    assert "May" not in str(entry.details)


def test_the_message_is_the_one_the_note_repeats() -> None:
    burst = ["Good evening!", "I want to leave Riga in May", "with my dog"]
    ids = [uuid4() for _ in burst]
    request = asked(None, *burst, message_ids=ids)
    assert source_of(request, {"text": "Leaves Riga in spring"}) == ids[1]
    assert source_of(request, {"text": "собака", "n": 7}) == ids[2]
    assert source_of(asked(None, *burst), {}) is None


def test_a_turn_tells_the_agent_which_messages_it_answers_the_corrected_one_by_its_correction() -> None:
    from conversations import corrections

    seen: list[Request] = []
    talk = conversation()
    with agent(during=seen.append):
        first, second = say(talk, "one", "two")
        corrected = corrections.correct(talk, second.entry.id, "two, corrected")
        quiet()
    assert list(seen[0].message_ids) == [first.entry.id, corrected.entry.id]
    assert list(seen[0].burst) == ["one", "two, corrected"]


def test_a_tool_that_knows_no_verb_leaves_the_same_lineage() -> None:
    from agents.tools import TOOLS, Tool

    def raw_write(call: Call) -> str:
        Note.objects.create(title="raw", created_by=call.user_id)
        return "done"

    tool = Tool("now", "", raw_write, {}, 10, False, False, lambda: True)
    assert "now" in TOOLS or register("now")
    call = Call(uuid4(), 1, uuid4(), 7, "a", 2, uuid4())
    with transaction.atomic():
        calls.run(call, {}, tool)
    change = lineage.latest(Note.objects.get())["title"]
    assert (change.turn_id, change.message_id, change.agent_version) == (call.turn_id, call.message_id, 2)


# --- two users ---


def test_users_see_and_change_their_own_rows_alone() -> None:
    mine, theirs = noted(7), noted(8)
    staffs = keeping.create(Note, values={"title": "staff"}, by="anna")
    with acting_as(7):
        assert list(Note.objects.all()) == [mine]
        assert Note.objects.filter(pk__in=[theirs.pk, staffs.pk]).update(title="x") == 0
        keeping.change(mine, values={"title": "changed"}, by="key")
    theirs.refresh_from_db()
    assert theirs.title == "Moving"


@pytest.mark.parametrize(
    "deed",
    [
        lambda _pk: Note.objects.create(title="a", created_by=8),
        lambda _pk: Note.objects.update(created_by=8),
        lambda _pk: Note.objects.all().delete(),
        lambda _pk: EntityChange.objects.count(),
        lambda pk: Note.objects.create(title="a", created_by=7, project_id=pk),
        lambda pk: Note.objects.update(project_id=pk),
    ],
)
def test_nobody_writes_for_others_reads_lineage_or_links_to_what_they_cannot_see(deed: Any) -> None:
    noted(7)
    theirs = keeping.create(Project, values={"name": "p", "created_by": 8}, by="anna")
    with pytest.raises((DatabaseError, IntegrityError)), acting_as(7):
        deed(theirs.pk)
    assert Note.objects.get().project is None


def test_a_link_to_ones_own_row_is_fine() -> None:
    with acting_as(7):
        project = keeping.create(Project, values={"name": "p", "created_by": 7}, by="key")
        note = keeping.create(Note, values={"title": "t", "created_by": 7, "project": project}, by="key")
    assert Note.objects.get().project == project
    assert {change.user_id for change in lineage.of(note)} == {7}


# --- erasure ---


def erase(conversation_id: UUID) -> dict[str, Any]:
    erasure.erase(conversation_id, by="anna", reason="asked for it")
    found = AuditEntry.objects.get(action="conversation.erase").details
    assert isinstance(found, dict)
    return found


def test_what_came_of_a_conversation_goes_with_it_lineage_and_all() -> None:
    talk = sessions.open(7)[0].id
    log.append(talk, "user", "I leave in May")
    note, other = noted(conversation_id=talk), noted()
    about = keeping.create(Note, values={"title": "about them", "conversation_id": talk}, by="anna")
    linked = keeping.create(Note, values={"title": "stays"}, by="anna")
    assert erase(talk)["entities"] == 2
    assert set(Note.objects.values_list("pk", flat=True)) == {other.pk, linked.pk}
    assert not EntityChange.objects.filter(entity_id__in=[note.pk, about.pk]).exists()
    assert not Message.objects.exists()


def test_a_row_that_goes_leaves_no_dangling_link() -> None:
    talk = sessions.open(7)[0].id
    project = keeping.create(Project, values={"name": "p"}, by="anna")
    _by_the_agent(talk, lambda: keeping.change(project, values={"description": "their words"}, by="agent"))
    character = _by_the_agent(talk, lambda: keeping.create(Character, values={"name": "theirs"}, by="agent"))
    note = keeping.create(Note, values={"title": "n", "character": character, "project": project}, by="anna")
    erase(talk)
    note.refresh_from_db()
    assert (note.character, note.project) == (None, project)
    last = lineage.latest(note)["character_id"]
    assert (last.kind, last.actor, last.value) == ("system", "erasure", None)


def test_their_words_in_a_row_of_others_are_taken_back_and_blanked() -> None:
    talk = sessions.open(7)[0].id
    character = keeping.create(Character, values={"name": "Anna", "role": "first", "age": 30}, by="anna")
    _by_the_agent(talk, lambda: keeping.change(character, values={"age": 31}, by="agent"))
    _by_the_agent(talk, lambda: keeping.change(character, values={"age": 32}, by="agent"))
    for words in ("their words", "their better words"):
        _by_the_agent(talk, lambda words=words: keeping.change(character, values={"role": words}, by="agent"))
    _by_the_agent(talk, lambda: keeping.change(character, values={"backstory": "their past"}, by="agent"))
    keeping.change(character, values={"backstory": "by staff"}, by="anna")
    keeping.change(character, values={"role": "by staff"}, by="anna")
    keeping.revert(lineage.latest(character)["role"].pk, by="anna")
    erase(talk)
    character.refresh_from_db()
    assert (character.role, character.backstory, character.age) == ("by staff", "by staff", 30)
    kept = str(list(lineage.of(character).values()))
    assert "their" not in kept
    assert "by staff" in kept
    assert {31, 32}.isdisjoint({change.value for change in lineage.of(character).filter(field="age")})
    assert [lineage.replay(character)[name] for name in ("role", "backstory", "age")] == ["by staff", "by staff", 30]


def _by_the_agent(talk: UUID, deed: Any) -> Any:
    from config import origin

    with transaction.atomic(), origin.written_by(origin.Origin("agent", "a", 7, 1, talk, uuid4(), uuid4())):
        return deed()


def test_a_person_goes_with_all_that_is_theirs() -> None:
    mine, theirs = noted(7), noted(8)
    call_command("erase", "--user", "7", "--reason", "asked", "--yes")
    assert list(Note.objects.all()) == [theirs]
    assert not EntityChange.objects.filter(entity_id=mine.pk).exists()
    entry = AuditEntry.objects.get(action="person.erase")
    assert entry.details == {"entities": 1, "reason": "asked"}
    with pytest.raises(CommandError, match="Nothing is kept of user 7"):
        call_command("erase", "--user", "7", "--reason", "asked", "--yes")


def test_outside_an_erasure_nothing_is_erased() -> None:
    noted()
    with connection.cursor() as cursor, pytest.raises(IntegrityError, match="never deleted"):
        cursor.execute("DELETE FROM notes")
    assert loader.MODELS["notes"] is Note
