"""What would hurt is refused at the earliest line that can see it, with the reason and what to write instead."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.postgres.operations import (
    AddConstraintNotValid,
    AddIndexConcurrently,
    ValidateConstraint,
)
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection, migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.models import Q, Value
from django.db.models.functions import Now, Random
from hypothesis import given, settings
from hypothesis import strategies as st

from entities.management.commands.makemigrations import Command as MakeMigrations
from entities.safety import judge, judge_tree, statements

pytestmark = pytest.mark.django_db


def plan(*operations: Any, atomic: bool = True) -> list[str]:
    """What is wrong with a migration of these, on top of all that is there."""
    migration = migrations.Migration("0099_try", "entities")
    migration.operations, migration.atomic = list(operations), atomic
    return [str(problem) for problem in judge([migration], MigrationLoader(None).project_state())]


def deletes(_apps: Any, editor: Any) -> None:
    editor.execute("DELETE FROM notes WHERE title = 'x'")


def deletes_by_orm(apps: Any, _editor: Any) -> None:
    apps.get_model("entities", "Note").objects.filter(title="x").delete()


DROP = "TRUNCATE notes"


def named_elsewhere(_apps: Any, editor: Any) -> None:
    editor.execute(DROP)


sql, python = migrations.RunSQL, migrations.RunPython
UNSAFE = {
    "drop a table": (migrations.DeleteModel("Note"), "drops a table"),
    "drop a column": (migrations.RemoveField("note", "text"), "drops a column"),
    "rename a table": (migrations.RenameModel("Note", "Memo"), "renames"),
    "rename a column": (migrations.RenameField("note", "text", "body"), "renames"),
    "move a table": (migrations.AlterModelTable("note", "memos"), "renames"),
    "db_column": (migrations.AlterField("note", "text", models.TextField(null=True, db_column="b")), "renames"),
    "not null, no default": (migrations.AddField("note", "mood", models.TextField()), "NOT NULL"),
    "not null, default in python": (migrations.AddField("note", "mood", models.TextField(default="x")), "NOT NULL"),
    "default per row": (migrations.AddField("note", "luck", models.FloatField(db_default=Random())), "row to row"),
    "unique column": (migrations.AddField("note", "code", models.TextField(null=True, unique=True)), "unique"),
    "indexed column": (migrations.AddField("note", "code", models.TextField(null=True, db_index=True)), "index"),
    "narrower": (migrations.AlterField("note", "title", models.CharField(max_length=20)), "type"),
    "other type": (migrations.AlterField("character", "age", models.SmallIntegerField(null=True)), "type"),
    "set not null": (migrations.AlterField("note", "text", models.TextField()), "NOT NULL"),
    "index": (migrations.AddIndex("note", models.Index(fields=["title"], name="n_t")), "index"),
    "unique constraint": (
        migrations.AddConstraint("note", models.UniqueConstraint(fields=["title"], name="n_u")), "index"),
    "check": (migrations.AddConstraint("note", models.CheckConstraint(condition=~Q(title="x"), name="n_c")), "reads"),
    "SQL drop table": (sql("-- harmless\nDROP TABLE IF EXISTS notes"), "drops a table"),
    "SQL drop column": (sql("ALTER TABLE notes ADD x int, DROP COLUMN text"), "drops a column"),
    "SQL drop, no COLUMN": (sql('alter table public."notes" drop text cascade'), "drops a column"),
    "SQL delete": (sql("WITH a AS (DELETE FROM notes RETURNING 1) SELECT 1"), "deletes"),
    "SQL truncate": (sql(["SELECT 1", ("TRUNCATE TABLE notes CASCADE", None)]), "empties"),
    "SQL rename": (sql("ALTER TABLE notes RENAME COLUMN text TO body"), "renames"),
    "SQL type": (sql("ALTER TABLE notes ALTER title TYPE varchar(20)"), "type"),
    "SQL set not null": (sql("ALTER TABLE notes ALTER COLUMN text SET NOT NULL"), "NOT NULL"),
    "SQL not null column": (sql("ALTER TABLE notes ADD COLUMN mood text NOT NULL"), "NOT NULL"),
    "SQL index": (sql("CREATE INDEX n_t ON notes (title)"), "index"),
    "SQL drop schema": (sql("DROP SCHEMA public CASCADE"), "drops more"),
    "in a DO block": (sql("DO $$ BEGIN DROP TABLE notes; END $$"), "drops a table"),
    "in EXECUTE": (sql("DO $$ BEGIN EXECUTE 'DROP TABLE notes'; END $$"), "drops a table"),
    "separated": (
        migrations.SeparateDatabaseAndState(database_operations=[sql("DROP TABLE notes")]), "drops a table"),
    "python, SQL": (python(deletes), "deletes"),
    "python, ORM": (python(deletes_by_orm), "deletes"),
    "python, SQL of the module": (python(named_elsewhere), "empties"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNSAFE)
def test_an_unsafe_operation_is_refused_with_a_reason(name: str) -> None:
    operation, reason = UNSAFE[name]
    problems = plan(operation)
    assert problems, "nobody saw it"
    assert reason in problems[0]
    assert "Instead: " in problems[0]


def test_an_operation_nobody_knows_is_refused() -> None:
    class Mystery(migrations.RunSQL.__mro__[1]):  # type: ignore[misc]
        __module__ = "somebody.elses"

        def state_forwards(self, app_label: str, state: Any) -> None:
            """Nothing."""

    assert "nobody knows" in plan(Mystery())[0]


SAFE: dict[str, list[Any]] = {
    "nullable": [migrations.AddField("note", "mood", models.TextField(null=True))],
    "default in the database": [migrations.AddField("note", "n", models.IntegerField(db_default=0))],
    "default now": [migrations.AddField("note", "seen", models.DateTimeField(db_default=Now()))],
    "default value": [migrations.AddField("note", "n", models.IntegerField(db_default=Value(3)))],
    "wider": [migrations.AlterField("note", "title", models.CharField(max_length=500))],
    "text for varchar": [migrations.AlterField("note", "title", models.TextField())],
    "label": [migrations.AlterField("note", "title", models.CharField("name", max_length=200))],
    "check in two steps": [
        AddConstraintNotValid("note", models.CheckConstraint(condition=~Q(title="x"), name="n_c"))],
    "drop an index": [migrations.RemoveIndex("note", "notes_of_conversation")],
    "a new table with all it needs": [
        migrations.CreateModel("Place", [("id", models.BigAutoField(primary_key=True)), ("code", models.TextField())],
                               options={"db_table": "places"}),
        migrations.AddIndex("place", models.Index(fields=["code"], name="places_code")),
        migrations.AddField("place", "name", models.TextField(unique=True)),
        sql("CREATE INDEX places_name ON places (name)"),
    ],
    "SQL on a new table": [sql("CREATE TABLE places (id int); CREATE INDEX p ON places (id); DROP TABLE places")],
    "SQL": [sql("ALTER TABLE notes ADD COLUMN mood text; COMMENT ON COLUMN notes.mood IS 'DROP TABLE notes; or not'")],
    "a function that deletes later": [
        sql("CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$ DELETE FROM notes $$")],
    "a trigger on truncate": [sql("CREATE TRIGGER t BEFORE DELETE OR TRUNCATE ON notes EXECUTE FUNCTION f()")],
    "default not null": [sql("ALTER TABLE notes ADD COLUMN n int NOT NULL DEFAULT 0")],
    "drop not null": [sql("ALTER TABLE notes ALTER COLUMN title DROP NOT NULL")],
}  # fmt: skip


@pytest.mark.parametrize("name", SAFE)
def test_a_safe_operation_passes(name: str) -> None:
    assert plan(*SAFE[name]) == []


def test_an_index_in_the_background_stands_alone() -> None:
    index = AddIndexConcurrently("note", models.Index(fields=["title"], name="n_t"))
    assert plan(index, atomic=False) == []
    assert "not alone" in plan(index)[0]
    assert "not alone" in plan(index, sql("SELECT 1"), atomic=False)[0]
    assert plan(ValidateConstraint("note", "n_c"))[:0] == []


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from([" ", "\n", "\t", "/* x */", "-- ;\n"]), min_size=1, max_size=4),
    st.sampled_from(["notes", '"notes"', "public.notes", 'public."notes"', "ONLY notes"]),
    st.booleans(),
    st.sampled_from(["", "SELECT 'a;b'; ", "SELECT $q$ ; $q$; ", "-- ' \n"]),
)
def test_no_spelling_hides_a_truncate(gap: list[str], table: str, small: bool, before: str) -> None:
    text = before + f"TRUNCATE{''.join(gap)}{table}"
    found = list(statements.broken(text.lower() if small else text, set()))
    assert [one.table for one in found] == ["notes"]


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_what_stands_in_quotes_or_comments_is_no_statement(words: str) -> None:
    quoted = words.replace("'", "''").replace("\\", "").replace("\0", "")
    comment = words.replace("\n", " ").replace("\r", " ").replace("\0", "")
    text = f"INSERT INTO notes (title) VALUES ('DROP TABLE notes; {quoted}'); -- DROP TABLE notes; {comment}\nSELECT 1"
    assert list(statements.broken(text, set())) == []


def test_every_migration_in_the_tree_is_safe() -> None:
    assert [str(problem) for problem in judge_tree()] == []


def test_makemigrations_writes_no_unsafe_file(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Any] = []
    command = "django.core.management.commands.makemigrations.Command.write_migration_files"
    monkeypatch.setattr(command, lambda _self, changes, _paths=None: written.append(changes))
    unsafe = migrations.Migration("0099_try", "entities")
    unsafe.operations = [migrations.RemoveField("note", "text")]
    with pytest.raises(CommandError, match="drops a column"):
        MakeMigrations().write_migration_files({"entities": [unsafe]})
    assert not written
    unsafe.operations = [migrations.AddField("note", "mood", models.TextField(null=True))]
    MakeMigrations().write_migration_files({"entities": [unsafe]})
    assert written


def test_the_models_and_their_migrations_agree() -> None:
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)
    connection.ensure_connection()
