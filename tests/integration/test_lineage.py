"""Every value says who wrote it and because of what; whoever writes, with whatever tool."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from django.db import IntegrityError, connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import errors

from agents.models import AuditEntry
from config import origin
from config.origin import Origin
from entities import demo, guarding, keeping, lineage
from entities.base import own_fields
from entities.errors import CannotRevertError, EntityGoneError, EntityInvalidError, NothingBeforeError
from entities.loader import MODELS
from entities.models import EntityChange
from entities.schema.characters import Character
from entities.schema.notes import Note
from entities.schema.projects import Project
from tests import raw

pytestmark = pytest.mark.django_db(transaction=True)


def anna(**values: Any) -> Character:
    return keeping.create(Character, values={"name": "Anna", **values}, by="bert")


def told(entity: Any) -> list[tuple[str, Any, Any]]:
    """The lineage, oldest first."""
    return [(change.field, change.previous, change.value) for change in reversed(lineage.of(entity))]


def columns(table: str, pk: UUID) -> dict[str, Any]:
    """The row as PostgreSQL would put it into JSON, by its own clock's zone."""
    with raw.connect() as db:
        db.execute("SET timezone = 'UTC'")
        row = db.execute(f"SELECT to_jsonb(t) AS row FROM {table} t WHERE id = %s", [pk]).fetchone()  # type: ignore[call-overload]
    assert row
    return {name: value for name, value in row["row"].items() if name not in ("id", "created_at", "updated_at")}


def test_a_new_row_says_of_each_value_who_wrote_it() -> None:
    character = anna(age=30, traits=["loud"])
    assert {field: value for field, _before, value in told(character)} == {
        "name": "Anna",
        "age": 30,
        "traits": ["loud"],
        "is_deleted": False,
    }
    change = lineage.latest(character)["age"]
    assert (change.kind, change.actor, change.action, change.previous) == ("staff", "bert", "create", None)


def test_a_change_keeps_the_value_before_and_touches_nothing_else() -> None:
    character = anna(age=30)
    before = character.updated_at
    assert keeping.change(character, values={"name": "Anna", "age": 31}, by="carl") == ["age"]
    assert told(character)[-1] == ("age", 30, 31)
    assert character.updated_at > before
    assert keeping.change(character, values={"age": 31}, by="carl") == []
    assert lineage.of(character).count() == 5


def test_two_people_at_two_fields_do_not_undo_each_other() -> None:
    mine = anna(age=30)
    theirs = Character.objects.get(pk=mine.pk)
    keeping.change(mine, values={"age": 31}, by="a")
    keeping.change(theirs, values={"role": "hero"}, by="b")
    assert (theirs.age, theirs.role) == (31, "hero")


def test_raw_sql_leaves_a_lineage_too_with_the_login() -> None:
    with raw.connect() as db:
        row = db.execute("INSERT INTO projects (name, deadline) VALUES ('P', '2027-01-02') RETURNING id").fetchone()
        assert row
        db.execute("UPDATE projects SET status = 'done', name = name")
        user = db.info.user
    project = Project.objects.get(pk=row["id"])
    assert told(project)[-1] == ("status", "active", "done")
    assert {(change.kind, change.actor) for change in lineage.of(project)} == {("sql", user)}


def test_raw_sql_may_tell_who_writes_for_one_transaction() -> None:
    turn = uuid4()
    with raw.connect() as db:
        with db.transaction():
            setting = json.dumps({"kind": "import", "actor": "import 7", "turn_id": str(turn)})
            db.execute("SELECT set_config('parley.origin', %s, true)", [setting])
            db.execute("INSERT INTO projects (name) VALUES ('P')")
        db.execute("UPDATE projects SET name = 'Q'")
    project = Project.objects.get()
    first, last = lineage.of(project).last(), lineage.of(project).first()
    assert first
    assert last
    assert (first.kind, first.actor, first.turn_id) == ("import", "import 7", turn)
    assert (last.kind, last.turn_id) == ("sql", None)


def test_an_origin_ends_with_its_block_and_with_its_savepoint() -> None:
    with pytest.raises(RuntimeError, match="transaction"), origin.written_by(Origin("staff", "x")):
        pass
    with transaction.atomic():
        with origin.written_by(Origin("agent", "a", user_id=7)):
            with pytest.raises(ZeroDivisionError), transaction.atomic(), origin.written_by(Origin("import", "b")):
                raise ZeroDivisionError
            with origin.written_by(Origin("import", "b")):
                pass
            Project.objects.create(name="P")
        Project.objects.create(name="Q")
    assert origin.current() is None
    written = EntityChange.objects.filter(field="name").order_by("id")
    assert [(change.kind, change.user_id) for change in written] == [("agent", 7), ("sql", None)]


def test_a_row_is_hidden_and_taken_back_but_never_deleted() -> None:
    character = anna()
    assert keeping.forget(character, by="bert")
    assert not keeping.forget(character, by="bert")
    assert not Character.objects.live().exists()
    assert Character.objects.deleted().get() == character
    assert keeping.restore(character, by="carl")
    assert [change[1:] for change in told(character) if change[0] == "is_deleted"][1:] == [(False, True), (True, False)]
    for refused in (lambda: Character.objects.all().delete(), lambda: _run("TRUNCATE characters CASCADE")):
        with pytest.raises(IntegrityError, match="never deleted"):
            refused()


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("UPDATE characters SET id = uuidv7()", errors.RestrictViolation),
        ("UPDATE characters SET created_at = now()", errors.RestrictViolation),
        ("DELETE FROM characters", errors.RestrictViolation),
        ("UPDATE entity_changes SET value = '1'", errors.RestrictViolation),
        ("DELETE FROM entity_changes", errors.RestrictViolation),
        ("TRUNCATE entity_changes", errors.RestrictViolation),
        ("UPDATE characters SET name = ''", errors.CheckViolation),
        ("UPDATE characters SET traits = '{}'", errors.CheckViolation),
        ("UPDATE characters SET age = -1", errors.CheckViolation),
        ("INSERT INTO projects (name, status) VALUES ('a', 'odd')", errors.CheckViolation),
        ("INSERT INTO characters (name, project_id) VALUES ('a', uuidv7())", errors.ForeignKeyViolation),
        ("INSERT INTO projects (name) VALUES (NULL)", errors.NotNullViolation),
    ],
)
def test_the_database_refuses(statement: str, error: type[psycopg.Error]) -> None:
    anna()
    with raw.connect() as db, pytest.raises(error):
        db.execute(statement)  # type: ignore[call-overload]


def test_when_a_row_changed_is_for_the_database_to_say() -> None:
    character = anna()
    Character.objects.update(updated_at="2001-01-01T00:00Z")
    character.refresh_from_db()
    assert character.updated_at.year > 2001


def _run(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


# --- putting back ---


def test_a_value_is_put_back_by_the_change_that_replaced_it() -> None:
    character = anna(age=30)
    keeping.change(character, values={"age": 31}, by="bert")
    keeping.change(character, values={"age": 32}, by="bert")
    second = lineage.of(character).filter(value=31).get()
    keeping.revert(second.pk, by="carl")
    character.refresh_from_db()
    assert character.age == 30
    last = lineage.latest(character)["age"]
    assert (last.previous, last.value, last.actor, last.reverts) == (32, 30, "carl", second.pk)
    keeping.revert(last.pk, by="carl")
    character.refresh_from_db()
    assert character.age == 32
    entry = AuditEntry.objects.filter(action="entity.revert").first()
    assert entry
    assert (entry.actor, entry.subject_type, entry.subject_id) == ("carl", "character", str(character.pk))


def test_a_deletion_is_put_back_like_any_value() -> None:
    character = anna()
    keeping.forget(character, by="bert")
    keeping.revert(lineage.latest(character)["is_deleted"].pk, by="bert")
    assert Character.objects.live().get() == character


def test_what_cannot_be_put_back_is_told() -> None:
    character = anna()
    with pytest.raises(NothingBeforeError):
        keeping.revert(lineage.latest(character)["name"].pk, by="bert")
    with pytest.raises(EntityGoneError):
        keeping.revert(uuid4(), by="bert")
    keeping.change(character, values={"age": 5}, by="bert")
    change = lineage.latest(character)["age"]
    with raw.connect() as db:
        db.execute("ALTER TABLE characters ADD CONSTRAINT tested CHECK (age > 0)")
        try:
            with pytest.raises(CannotRevertError):
                _with_previous(change, lambda: keeping.revert(change.pk, by="bert"))
        finally:
            db.execute("ALTER TABLE characters DROP CONSTRAINT tested")
    character.refresh_from_db()
    assert character.age == 5


def _with_previous(change: EntityChange, deed: Callable[[], object]) -> None:
    """As if the value had been written under an older rule."""
    with transaction.atomic():
        _run("SET LOCAL parley.erasing = 'on'")
        EntityChange.objects.filter(pk=change.pk).update(previous=0)
    deed()


def test_a_revert_that_fails_leaves_the_transaction_usable() -> None:
    character = anna()
    keeping.change(character, values={"age": 5}, by="bert")
    change = lineage.latest(character)["age"]
    with transaction.atomic():
        _run("SET LOCAL parley.erasing = 'on'")
        EntityChange.objects.filter(pk=change.pk).update(previous="no number")
    with pytest.raises(CannotRevertError):
        keeping.revert(change.pk, by="bert")
    assert not AuditEntry.objects.filter(action="entity.revert").exists()


# --- bad input ---


@pytest.mark.parametrize(
    "values",
    [
        {"nme": "x"},
        {"id": uuid4()},
        {"is_deleted": True},
        {"name": ""},
        {"name": None},
        {"name": "x" * 201},
        {"age": "old"},
        {"age": -1},
        {"age": 2**40},
        {"traits": {"a": 1}},
        {"traits": "loud"},
        {"project_id": uuid4()},
        {"project_id": "x"},
    ],
)
def test_a_value_that_breaks_a_rule_is_refused_with_its_field(values: dict[str, Any]) -> None:
    with pytest.raises(EntityInvalidError) as refused:
        anna(**values)
    assert refused.value.problems
    character = anna()
    with pytest.raises(EntityInvalidError):
        keeping.change(character, values=values, by="bert")
    assert told(character) == told(Character.objects.get())


def test_text_no_database_can_hold_is_made_storable() -> None:
    assert anna(name="a\0b").name == "a\ufffdb"


def test_the_record_names_fields_and_no_values() -> None:
    character = anna(backstory="a secret")
    keeping.change(character, values={"backstory": "another secret"}, by="bert")
    entries = AuditEntry.objects.filter(subject_id=str(character.pk)).order_by("id")
    assert [(entry.action, entry.details) for entry in entries] == [
        ("entity.create", {"fields": ["backstory", "name"]}),
        ("entity.change", {"fields": ["backstory"]}),
    ]


# --- the promise over everything ---


texts = st.one_of(st.none(), st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20))
deeds = st.lists(
    st.one_of(
        st.tuples(st.just("role"), texts),
        st.tuples(st.just("age"), st.one_of(st.none(), st.integers(0, 2**31 - 1))),
        st.tuples(st.just("traits"), st.lists(st.one_of(st.text("ab"), st.floats(-1e9, 1e9)), max_size=3)),
        st.tuples(st.just("sql"), texts),
        st.tuples(st.just("forget"), st.booleans()),
        st.tuples(st.just("revert"), st.integers(0, 20)),
    ),
    max_size=8,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(done=deeds)
def test_a_replay_from_the_beginning_gives_the_row(transactional_db: None, done: list[tuple[str, Any]]) -> None:
    character = anna()
    for what, value in done:
        match what:
            case "sql":
                Character.objects.filter(pk=character.pk).update(backstory=value)
            case "forget":
                (keeping.forget if value else keeping.restore)(character, by="bert")
            case "revert":
                changes = list(lineage.of(character).filter(action="change"))
                if changes:
                    keeping.revert(changes[value % len(changes)].pk, by="bert")
            case field:
                keeping.change(character, values={field: value}, by="bert")
    row = columns("characters", character.pk)
    replayed = lineage.replay(character)
    assert {name: replayed.get(name) for name in row} == row
    standing: dict[str, Any] = {}
    for field, before, after in told(character):
        assert standing.get(field) == before
        standing[field] = after


# --- what is bound to each table ---


def test_every_table_has_its_triggers_and_rights_and_a_second_binding_does_nothing() -> None:
    assert guarding.lacking() == []
    assert guarding.bind() == []
    _run("SET event_triggers = off; DROP TRIGGER entity_lineage ON notes")
    _run("ALTER TABLE ideas DISABLE TRIGGER entity_kept, DISABLE TRIGGER entity_stamped; RESET event_triggers")
    assert sorted(guarding.lacking()) == ["ideas: entity_kept", "ideas: entity_stamped", "notes: entity_lineage"]
    guarding.bind()
    assert guarding.lacking() == []
    assert told(keeping.create(Note, values={"title": "t"}, by="bert"))


def test_no_column_of_a_table_goes_without_lineage() -> None:
    for table, model in MODELS.items():
        assert {str(field.column) for field in own_fields(model)} <= set(columns(table, _any(model).pk))


def _any(model: Any) -> Any:
    name = "title" if hasattr(model, "title") else "name"
    return keeping.create(model, values={name: "x"}, by="bert")


def test_the_demo_is_there_after_one_run_and_no_more_after_two() -> None:
    demo.load(anyway=False)
    rows = EntityChange.objects.count()
    assert demo.load(anyway=False) == "there already"
    assert EntityChange.objects.count() == rows > 20
    assert set(EntityChange.objects.values_list("kind", "actor")) == {("system", "demo")}
