"""Free text that reaches another program is text there, whatever options it looks like."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from config.env import ROOT
from entities import backup, postgres, restoring
from entities.mechanic import applying, changes, documents, drafting, repository
from entities.mechanic.documents import DocumentError
from entities.models.schema_change import Origin

pytestmark = pytest.mark.django_db

CHARACTERS = "entities/schema/characters.py"


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A folder in which a package of ours is somebody else's."""
    (tmp_path / "ninja").mkdir()
    (tmp_path / "ninja" / "__init__.py").write_text(f"open({str(tmp_path / 'RAN')!r}, 'w')\nraise SystemExit('ran')\n")
    return tmp_path


@pytest.fixture
def options(foreign: Path) -> list[str]:
    """Everything Django and git understand that would do harm, and help, which would do nothing at all."""
    return [
        f"--pythonpath={foreign}", "--pythonpath", "--settings=evil.settings", "--by=admin", "-h", "--help", "--",
        f"--output={foreign / 'RAN'}", f"--file={foreign / 'RAN'}",
    ]  # fmt: skip


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The argument lists of programs that would have been started."""
    commands: list[list[str]] = []

    def note(command: list[str], **_given: Any) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 0, '{"migrations": {}, "sql": ""}', "")

    monkeypatch.setattr(subprocess, "run", note)
    return commands


def test_a_title_cannot_begin_as_an_option_does(options: list[str]) -> None:
    document = {"add_column": [{"table": "characters", "name": "zeta", "type": "date"}]}
    for title in ("--title", " -x y", *(option for option in options if len(option) > 2)):
        with pytest.raises(DocumentError, match="begin with a dash"):
            changes.propose({"title": title, **document}, by="t", origin=Origin.FILE)
    assert documents.read({"title": "A wish - or two", **document}).title == "A wish - or two"


def test_a_title_is_no_argument(options: list[str], started: list[list[str]]) -> None:
    for title in options:
        drafting.draft({}, title)
    assert {tuple(command) for command in started} == {(sys.executable, "manage.py", "mechanic", "draft")}


def test_a_title_that_was_kept_before_runs_nothing_foreign(foreign: Path) -> None:
    text = (ROOT / CHARACTERS).read_text()
    wanted = text.replace("    class Meta:", "    zeta = models.DateField(null=True, blank=True)\n\n    class Meta:", 1)
    made = drafting.draft({CHARACTERS: wanted}, f"--pythonpath={foreign}")
    assert not (foreign / "RAN").exists()
    assert f'"""--pythonpath={foreign}."""' in next(iter(made.migrations.values()))


def test_names_of_people_and_backups_stay_values(options: list[str], started: list[list[str]]) -> None:
    for text in options:
        applying._migrated(text, text)
    assert {len(command) for command in started} == {6}
    assert all(word.startswith(("--prepared=", "--by=")) for command in started for word in command[4:])


def test_messages_and_paths_stay_values_for_git(options: list[str], started: list[list[str]]) -> None:
    for text in options:
        monkey = [text]
        repository._git("commit", f"--message={text}", "--", *monkey)
        repository.commit(monkey, text)
    for command in started:
        given = command[command.index("--") :] if "--" in command else []
        assert all(word not in options for word in command[: len(command) - len(given)])


def test_the_name_of_a_database_is_no_connection_string(transactional_db: None, tmp_path: Path) -> None:
    """libpq takes a `dbname` with an equals sign in it for a whole connection string."""
    name = "host=/nowhere options=-csearch_path=x"
    with postgres.connect("postgres") as admin:
        taken = backup.take(by="t", reason="by-hand")
        try:
            restoring.fill(admin, name, backup.dump_of(taken))
            with postgres.connect(name) as there:
                assert there.execute("SELECT count(*) > 0 FROM public.django_migrations").fetchone() == (True,)
        finally:
            postgres.drop(admin, name)


def test_the_draft_reads_its_title_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []

    def make(title: str) -> drafting.Draft:
        heard.append(title)
        return drafting.Draft({}, "")

    monkeypatch.setattr(drafting, "make", make)
    monkeypatch.setattr(sys, "stdin", io.StringIO("--pythonpath=x\n"))
    call_command("mechanic", "draft", stdout=io.StringIO())
    assert heard == ["--pythonpath=x"]
