"""`manage.py migrate` where there is data: nothing is lost, whoever kills it, and nobody waits long."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from pathlib import Path

import psycopg
import pytest

from tests import raw, scratch
from tests.processes import ROOT, Running, eventually
from tests.scratch import Project

pytestmark = pytest.mark.django_db(transaction=True)

LAST = scratch.newest_migration()
MOOD = 'migrations.AddField("note", "mood", models.TextField(null=True))'
HIDDEN = "def f(apps, editor):\n    editor.execute('DEL' + 'ETE FROM notes')\n"


def columns(project: Project) -> list[str]:
    query = "SELECT array_agg(column_name::text) FROM information_schema.columns WHERE table_name = 'notes'"
    found: list[str] = project.ask(query)
    return found


def scratch_copies() -> set[str]:
    """Those of whoever rehearses on this server at the moment: another test may."""
    with raw.connect() as admin:
        found = admin.execute("SELECT datname FROM pg_database WHERE datname LIKE 'parley_rehearsal_%'").fetchall()
    return {row["datname"] for row in found}


def test_it_backs_up_rehearses_and_is_on_record(project: Project) -> None:
    project.migration("0099_mood", MOOD, after=LAST)
    done = project.manage("migrate")
    assert done.returncode == 0, done.stderr
    assert "nothing was lost" in done.stdout
    assert "mood" in columns(project)
    told = project.ask("SELECT details FROM audit_log WHERE action = 'schema.migrate'")
    assert told["migrations"] == ["entities.0099_mood"]
    backups = [path for path in (project.folder / "var" / "backups").iterdir() if path.is_dir()]
    assert [path.name for path in backups] == [told["backup"]]
    assert json.loads((backups[0] / "manifest.json").read_text())["measures"]["public.notes"]["rows"] == 200
    copies = scratch_copies()
    eventually(lambda: not copies & scratch_copies(), "no copy is left")
    again = project.manage("migrate")
    assert "No migrations to apply" in again.stdout
    assert "Rehears" not in again.stdout
    assert len([path for path in (project.folder / "var" / "backups").iterdir() if path.is_dir()]) == 1


@scratch.long
def test_what_no_rule_can_read_is_seen_by_the_rehearsal(project: Project) -> None:
    above = HIDDEN.replace("'DEL' + 'ETE FROM notes'", "'UPDATE notes SET is_deleted = true'")
    project.migration("0099_hidden", "migrations.RunPython(f)", after=LAST, above=above)
    done = project.manage("migrate")
    assert done.returncode == 0, done.stderr
    assert "rows changed in" in done.stdout


def test_rows_that_would_be_lost_stop_it(project: Project) -> None:
    with project.connect() as found:
        found.execute("CREATE TABLE plain (i int); INSERT INTO plain SELECT generate_series(1, 7)")
    above = HIDDEN.replace("notes", "plain WHERE i > 4")
    project.migration("0099_hidden", "migrations.RunPython(f)", after=LAST, above=above)
    done = project.manage("migrate")
    assert done.returncode == 1
    assert "3 of 7 rows of public.plain are gone" in done.stderr
    assert project.ask("SELECT count(*) FROM plain") == 7
    assert project.ask("SELECT status FROM audit_log WHERE action = 'schema.rehearse'") == "refused"


def test_an_unsafe_plan_changes_nothing(project: Project) -> None:
    project.migration("0099_good", MOOD, after=LAST)
    project.migration("0100_bad", 'migrations.RemoveField("note", "text")', after="0099_good")
    done = project.manage("migrate")
    assert done.returncode == 1
    assert "drops a column" in done.stderr
    assert "Instead:" in done.stderr
    assert "mood" not in columns(project), "the safe one before it must wait, too"


def test_going_back_is_refused(project: Project) -> None:
    done = project.manage("migrate", "entities", LAST[:4].replace(LAST[:4], "0001"))
    assert done.returncode == 1
    assert "Going back would drop" in done.stderr


@scratch.long
def test_no_rehearsal_is_on_record_and_refused_in_production(project: Project) -> None:
    project.migration("0099_mood", MOOD, after=LAST)
    production = {"DEBUG": "false", "SECRET_KEY": "x" * 60, "ALLOWED_HOSTS": "parley.example.org"}
    done = project.manage("migrate", "--no-rehearsal", **production)
    assert done.returncode == 1
    assert "--force" in done.stderr
    assert "mood" not in columns(project)
    done = project.manage("migrate", "--no-rehearsal")
    assert done.returncode == 0, done.stderr
    assert project.ask("SELECT details ->> 'rehearsal' FROM audit_log WHERE action = 'schema.migrate'") == "skipped"


def test_killed_half_way_and_run_again(project: Project) -> None:
    """An index in the background is the one step that cannot be rolled back."""
    index = 'AddIndexConcurrently("note", models.Index(fields=["title"], name="notes_title"))'
    project.migration("0099_index", index, after=LAST, atomic=False)
    with project.connect() as holder:
        holder.autocommit = False
        holder.execute("UPDATE notes SET text = 'held' WHERE title = 'note 1'")  # the build waits for this transaction
        child = Running(sys.executable, str(project.folder / "manage.py"), "migrate", **project.variables)
        invalid = "SELECT count(*) FROM pg_index WHERE NOT indisvalid AND indexrelid = to_regclass('notes_title')"
        eventually(lambda: project.ask(invalid) == 1, "the index is half built")
        child.end(signal.SIGKILL)
        holder.rollback()
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND query LIKE 'CREATE INDEX%%'"
    eventually(lambda: project.ask(waiting, project.database) == 0, "the server noticed the kill")
    done = project.manage("migrate")
    assert done.returncode == 0, done.stderr
    assert project.ask(invalid) == 0
    assert project.ask("SELECT to_regclass('notes_title')::text") == "notes_title"


class Writers:
    """Old code that goes on writing."""

    def __init__(self, project: Project, count: int) -> None:
        self.project, self.over = project, threading.Event()
        self.failed: list[str] = []
        self.longest, self.written = 0.0, 0
        self.threads = [threading.Thread(target=self.write) for _ in range(count)]

    def write(self) -> None:
        with self.project.connect() as session:
            while not self.over.wait(0.02):
                begun = time.monotonic()
                try:
                    session.execute("INSERT INTO notes (title) VALUES ('written meanwhile')")
                    self.written += 1
                except psycopg.Error as error:
                    self.failed.append(str(error))
                self.longest = max(self.longest, time.monotonic() - begun)

    def __enter__(self) -> Writers:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()


def test_writers_go_on_while_a_long_reader_is_in_the_way(project: Project) -> None:
    """Without short waits the ALTER would queue behind the reader, and every writer behind the ALTER."""
    project.migration("0099_mood", MOOD, after=LAST)
    with project.connect() as reader, Writers(project, 20) as writers:
        reader.autocommit = False
        reader.execute("SELECT count(*) FROM notes")
        child = Running(sys.executable, str(project.folder / "manage.py"), "migrate", **project.variables)
        child.wait_for("migration waits for a lock.*attempt=3|attempt.: 3")
        reader.rollback()
        said = child.everything()
        assert child.exit_code() == 0, said
        eventually(lambda: writers.written > 100, "they write on")
    assert writers.failed == []
    assert "mood" in columns(project)
    sys.stdout.write(f"{writers.written} writes, the longest took {writers.longest:.2f} s\n")


@scratch.long
def test_two_at_once_apply_it_once(project: Project) -> None:
    project.migration("0099_mood", MOOD, after=LAST)
    both = [Running(sys.executable, str(project.folder / "manage.py"), "migrate", **project.variables) for _ in "ab"]
    said = [child.everything() for child in both]
    assert [child.exit_code() for child in both] == [0, 0], said
    assert project.ask("SELECT count(*) FROM django_migrations WHERE name = '0099_mood'") == 1


def test_three_at_once_on_an_empty_database_all_succeed(tmp_path: Path) -> None:
    """As the containers of a first start do."""
    with raw.connect() as admin:
        admin.execute("DROP DATABASE IF EXISTS parley_empty WITH (FORCE)")
        admin.execute("CREATE DATABASE parley_empty")
    place = Project(ROOT, "parley_empty")
    variables = {**place.variables, "DATA_DIR": str(tmp_path)}
    runs = [Running(sys.executable, "manage.py", "migrate", "-v0", **variables) for _ in range(3)]
    said = [run.everything() for run in runs]
    assert [run.exit_code() for run in runs] == [0, 0, 0], said
    with raw.connect() as admin:
        admin.execute("DROP DATABASE parley_empty WITH (FORCE)")


@scratch.long
def test_the_code_before_runs_on_the_schema_after(project: Project, tmp_path: Path) -> None:
    old = scratch.copied(tmp_path / "old")
    project.migration("0099_mood", MOOD, after=LAST)
    project.manage("migrate", "--no-backup")
    write = (
        "from entities.models import *; from entities.loader import MODELS; MODELS['notes'].objects.create(title='o')"
    )
    before = Project(old, project.database)
    done = before.manage("shell", "-v0", "-c", write)
    assert done.returncode == 0, done.stderr
    assert project.ask("SELECT count(*) FROM notes WHERE title = 'o' AND mood IS NULL") == 1
