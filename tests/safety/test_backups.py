"""A backup is whole or not there, and restored into a database beside ours, never over it."""

from __future__ import annotations

import json
import secrets
import signal
import stat
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.conf import LazySettings
from hypothesis import given, settings
from hypothesis import strategies as st

from conversations import log, sessions
from entities import backup, measures, postgres, restoring, sealing
from entities.safety import guard
from tests import raw, scratch
from tests.processes import Running, eventually
from tests.scratch import Project

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def place(filled: str, tmp_path: Path) -> Project:
    """The code as it lies here, a folder of its own, and the filled database (which nobody changes)."""
    return Project(tmp_path, filled)


def manage(place: Project, *arguments: str) -> str:
    """Our commands, run from the sources."""
    done = Project(scratch.ROOT, place.database).manage(*arguments, DATA_DIR=str(place.folder / "var"))
    return f"{done.returncode} {done.stdout} {done.stderr}"


def whole(place: Project) -> list[Path]:
    return sorted(path.parent for path in (place.folder / "var" / "backups").glob("*/manifest.json"))


def databases(place: Project) -> set[str]:
    """Those named after it: tests that run beside this one have databases, too."""
    with raw.connect() as admin:
        found = {row["datname"] for row in admin.execute("SELECT datname FROM pg_database").fetchall()}
    return {name for name in found if place.database in name}


def test_taken_while_people_write_and_restored_equal(project: Project) -> None:
    over = threading.Event()

    def write() -> None:
        with project.connect() as session:
            while not over.is_set():
                session.execute("INSERT INTO notes (title) VALUES ('meanwhile')")
                session.execute("UPDATE notes SET text = 'changed' WHERE id = (SELECT id FROM notes LIMIT 1)")

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    try:
        said = manage(project, "backup")
    finally:
        over.set()
        for writer in writers:
            writer.join()
    assert said.startswith("0"), said
    (path,) = whole(project)
    kept = json.loads((path / "manifest.json").read_text())["measures"]["public.notes"]["rows"]
    assert 200 <= kept < project.ask("SELECT count(*) FROM notes")
    into = f"restored_{project.database}"
    try:
        said = manage(project, "restore", "--into", into)
        assert "counts and checksums equal" in said
        assert "audit verify: The record is whole" in said
        assert "reconcile: Every message has exactly one fate" in said
        assert "Nothing was replaced" in said
        assert Project(project.folder, into).ask("SELECT count(*) FROM notes") == kept
        assert Project(project.folder, into).ask("SELECT count(*) FROM pg_event_trigger") == len(guard.TRIGGERS)
        said = manage(project, "restore", "--into", into)
        assert said.startswith("1")
        assert "is not touched" in said
    finally:
        with raw.connect() as admin:
            admin.execute(f'DROP DATABASE IF EXISTS "{into}" WITH (FORCE)')  # type: ignore[arg-type]


def test_only_its_owner_reads_it_and_no_command_line_shows_a_secret(place: Project) -> None:
    assert manage(place, "backup").startswith("0")
    (path,) = whole(place)
    for one in (path.parent, path, *path.iterdir()):
        assert not one.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO), one


def test_killed_in_the_middle_leaves_nothing_that_looks_whole(place: Project) -> None:
    with place.connect() as holder:
        holder.autocommit = False
        holder.execute("LOCK TABLE turns IN ACCESS EXCLUSIVE MODE")  # pg_dump waits here
        child = Running(
            sys.executable, "manage.py", "backup", **(place.variables | {"DATA_DIR": str(place.folder / "var")})
        )
        folder = place.folder / "var" / "backups"
        eventually(lambda: list(folder.glob("*.partial/database.dump")), "the dump has begun")
        child.end(signal.SIGKILL)
        holder.rollback()
    assert whole(place) == []
    assert "0 in" in manage(place, "backups", "--verify")
    assert manage(place, "backup").startswith("0")
    assert list(folder.glob("*.partial")) == []
    assert len(whole(place)) == 1


def test_a_damaged_one_is_neither_called_whole_nor_restored(place: Project) -> None:
    assert manage(place, "backup").startswith("0")
    (path,) = whole(place)
    dump = path / "database.dump"
    content = bytearray(dump.read_bytes())
    content[len(content) // 2] ^= 1
    dump.write_bytes(content)
    assert manage(place, "backups", "--verify").startswith("1")
    before = databases(place)
    said = manage(place, "restore", "--into", f"restored_{place.database}")
    assert said.startswith("1")
    assert "checksum differs" in said
    assert databases(place) == before


@scratch.long
def test_what_differs_from_the_manifest_is_not_given_a_name(place: Project) -> None:
    assert manage(place, "backup").startswith("0")
    (path,) = whole(place)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["measures"]["public.notes"]["rows"] += 1
    (path / "manifest.json").write_text(json.dumps(manifest))
    before = databases(place)
    said = manage(place, "restore", "--from-elsewhere", "--into", f"restored_{place.database}")
    assert "1 of 201 rows of public.notes are gone" in said
    assert databases(place) == before


def test_what_somebody_else_made_is_restored_for_those_who_say_so(place: Project) -> None:
    """A dump runs whatever it says; the manifest beside it is as easily changed as the dump."""
    assert manage(place, "backup").startswith("0")
    (path,) = whole(place)
    assert "from elsewhere" not in manage(place, "backups", "--verify")
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["sha256"] = backup.digest(path / "database.dump")
    for changed in ({"reason": "theirs"}, {"seal": ""}):
        (path / "manifest.json").write_text(json.dumps(manifest | changed))
        assert "from elsewhere, whole" in manage(place, "backups", "--verify")
        before = databases(place)
        said = manage(place, "restore", "--into", f"restored_{place.database}")
        assert said.startswith("1")
        assert "A dump is a program" in said
        assert databases(place) == before
    (path / "manifest.json").write_text(json.dumps(manifest))
    assert "from elsewhere" not in manage(place, "backups")


def test_a_seal_outlives_a_new_secret_key(settings: LazySettings) -> None:
    manifest = {"name": "x", "measures": {}}
    sealed = manifest | {"seal": sealing.seal(manifest)}
    old, settings.SECRET_KEY = settings.SECRET_KEY, "another" * 10
    assert not sealing.is_ours(sealed)
    settings.SECRET_KEY_FALLBACKS = [old]
    assert sealing.is_ours(sealed)


def test_it_holds_no_session_and_the_head_of_the_record(project: Project) -> None:
    with project.connect() as found:
        found.execute("INSERT INTO django_session VALUES ('key', 'data', now())")
        found.execute(
            "INSERT INTO audit_log (action, actor, subject_type, subject_id, details) VALUES ('x', 'x', 'x', 'x', '{}')"
        )
        head = found.execute("SELECT seq || ':' || hash AS head FROM audit_chain ORDER BY seq DESC LIMIT 1").fetchone()
    assert manage(project, "backup").startswith("0")
    into = f"restored_{project.database}"
    try:
        said = manage(project, "restore", "--into", into)
        assert "counts and checksums equal" in said
        assert Project(project.folder, into).ask("SELECT count(*) FROM django_session") == 0
        (path,) = whole(project)
        assert head
        assert json.loads((path / "manifest.json").read_text())["head"] == head["head"]
        verified = Project(scratch.ROOT, into).manage("audit", "verify", "--head", head["head"])
        assert verified.returncode == 0, verified.stdout
    finally:
        with raw.connect() as admin:
            admin.execute(f'DROP DATABASE IF EXISTS "{into}" WITH (FORCE)')  # type: ignore[arg-type]


def test_tables_in_another_schema_are_backed_up_and_restored(project: Project) -> None:
    into = f"restored_{project.database}"
    with project.connect() as found:
        found.execute("DROP EVENT TRIGGER IF EXISTS parley_guard_drop")
        found.execute(f'ALTER SCHEMA public RENAME TO talk; ALTER DATABASE "{project.database}" SET search_path = talk')  # type: ignore[arg-type]
    done = project.manage("migrate", "-v0")  # functions with their owner's rights follow their tables
    assert done.returncode == 0, done.stderr
    try:
        assert manage(project, "backup").startswith("0")
        said = manage(project, "restore", "--into", into)
        assert "counts and checksums equal" in said
        assert "audit verify: The record is whole" in said
        assert Project(project.folder, into).ask("SELECT count(*) FROM talk.notes") == 200
    finally:
        with raw.connect() as admin:
            admin.execute(f'DROP DATABASE IF EXISTS "{into}" WITH (FORCE)')  # type: ignore[arg-type]


@scratch.long
def test_what_was_unsound_when_it_was_backed_up_is_restored_and_told(project: Project) -> None:
    with project.connect() as found:
        found.execute(
            "WITH chat AS (INSERT INTO conversations (user_id, channel) VALUES (1, 'api') RETURNING id)"
            " SELECT append_message(chat.id, 'user', 'forgotten', p_inbound => true) FROM chat"
        )
    assert manage(project, "backup").startswith("0")
    into = f"restored_{project.database}"
    try:
        said = manage(project, "restore", "--into", into)
        assert said.startswith("0")
        assert "1 messages have no fate" in said
        assert "that was not sound" in said
        assert into in databases(project)
    finally:
        with project.connect() as found:
            found.execute(f'DROP DATABASE IF EXISTS "{into}"')


@pytest.mark.parametrize("name", ["../../etc", "nothing", ".hidden", "latest"])
def test_a_name_that_is_none_is_told(place: Project, name: str) -> None:
    said = manage(place, "restore", name)
    assert said.startswith("1")
    assert "There is no backup" in said


def test_staff_see_its_age(transactional_db: None, settings: LazySettings) -> None:
    assert backup.backups().ok  # a database made this hour has nothing to lose
    assert not backup.is_due()
    with raw.connect() as session:
        session.execute("UPDATE django_migrations SET applied = applied - interval '3 days'")
        try:
            assert not backup.backups().ok
            assert backup.is_due()
            settings.BACKUP_EVERY_HOURS = 0
            assert not backup.is_due()
        finally:
            session.execute("UPDATE django_migrations SET applied = applied + interval '3 days'")


NOW = datetime(2026, 5, 13, 12, tzinfo=UTC)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 24 * 200), unique=True, max_size=60))
def test_the_policy_keeps_the_newest_the_week_and_one_of_each_week(hours: list[int]) -> None:
    taken = [(str(hour), NOW - timedelta(hours=hour)) for hour in hours]
    going = backup.due_to_go(taken, NOW)
    left = [when for name, when in taken if name not in going]
    assert all(when in left for _name, when in taken if NOW - when <= timedelta(days=7))
    assert all(when in left for when in sorted((when for _name, when in taken), reverse=True)[:3])
    weeks = {when.isocalendar()[:2] for _name, when in taken if NOW - when <= timedelta(weeks=7)}
    assert weeks <= {when.isocalendar()[:2] for when in left}
    assert backup.due_to_go([one for one in taken if one[0] not in going], NOW) == []
    assert len(left) <= 24 * 7 + 3 + 9


def test_of_rehearsals_the_newest_stays_and_what_may_still_be_read() -> None:
    taken = [(f"{hours}-rehearsal", NOW - timedelta(hours=hours)) for hours in (0.2, 0.5, 3, 30)]
    assert sorted(backup.due_to_go([*taken, ("daily", NOW)], NOW)) == ["3-rehearsal", "30-rehearsal"]
    assert backup.due_to_go(taken[2:], NOW) == ["30-rehearsal"]


@pytest.fixture
def modest(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A role with CREATEDB and a template that has the extension: all that docs/backups.md asks for."""
    name = f"modest_{secrets.token_hex(4)}"
    with raw.connect() as admin:
        admin.execute(f"CREATE ROLE {name} LOGIN CREATEDB NOSUPERUSER")  # type: ignore[arg-type]
        admin.execute(f"CREATE DATABASE {name} OWNER {name}")  # type: ignore[arg-type]
        with raw.connect(dbname=name) as inside:
            inside.execute("CREATE EXTENSION vector")
        ours = postgres.parameters()
        monkeypatch.setattr(postgres, "parameters", lambda: {**ours, "user": name})
        try:
            yield name
        finally:
            admin.execute(f"DROP DATABASE IF EXISTS {name}_restored WITH (FORCE)")  # type: ignore[arg-type]
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")  # type: ignore[arg-type]
            admin.execute(f"DROP ROLE {name}")  # type: ignore[arg-type]


def test_a_role_that_is_no_superuser_restores(
    transactional_db: None, settings: LazySettings, tmp_path: Path, request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Row-level security is forced on the owner, and foreign keys are checked by queries."""
    settings.BACKUP_DIR = tmp_path
    conversation = sessions.open(1)[0]
    log.append(conversation.pk, "user", "hello")
    taken = backup.take(by="t", reason="by-hand")
    name = str(request.getfixturevalue("modest"))
    into = f"{name}_restored"

    def create(admin: postgres.Connection, database: str) -> None:
        admin.execute(f"CREATE DATABASE {database} TEMPLATE {name}")

    monkeypatch.setattr(postgres, "create", create)
    with postgres.connect("postgres") as admin:
        assert not postgres.superuser(admin)
        restoring.fill(admin, into, backup.dump_of(taken))
    assert measures.differences(taken.measured(), restoring.measured_in(into)) == []


@scratch.long
def test_a_role_that_is_no_superuser_backs_up_and_is_told_what_a_restore_needs(project: Project) -> None:
    """Row-level security is forced on the owner, too; event triggers and extensions are not its to make."""
    role, into = f"owner_{project.database[-6:]}", f"r_{project.database}"
    with raw.connect() as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN CREATEDB CREATEROLE")  # type: ignore[arg-type]
    try:
        with project.connect() as inside:
            inside.execute(
                "DO $$ DECLARE one record; BEGIN FOR one IN SELECT nspname, relname FROM pg_class c"
                " JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind IN ('r', 'v') AND nspname IN"
                f" ('public', 'checkpoints') LOOP EXECUTE format('ALTER TABLE %I.%I OWNER TO {role}', one.nspname,"
                f" one.relname); END LOOP; END $$; GRANT ALL ON SCHEMA public, checkpoints, parley_guard TO {role};"  # type: ignore[arg-type]
                f" ALTER SCHEMA parley_guard OWNER TO {role}; ALTER SCHEMA checkpoints OWNER TO {role};"
                f" ALTER SEQUENCE schema_generations OWNER TO {role}"
            )
        theirs = project.url.replace("parley@", f"{role}@")
        code = Project(scratch.ROOT, project.database)
        variables = {"DATABASE_URL": theirs, "DATA_DIR": str(project.folder / "var")}
        done = code.manage("backup", **variables)
        assert done.returncode == 0, done.stderr
        assert json.loads((whole(project)[0] / "manifest.json").read_text())["measures"]["public.notes"]["rows"] == 200
        done = code.manage("restore", "--into", into, **variables)
        assert "psql template1 -c 'CREATE EXTENSION vector'" in done.stderr
        assert into not in databases(project)
    finally:
        with project.connect() as inside:
            inside.execute(f"REASSIGN OWNED BY {role} TO CURRENT_USER; DROP OWNED BY {role}; DROP ROLE {role}")  # type: ignore[arg-type]
