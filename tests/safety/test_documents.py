"""What the mechanic may be asked for, and how it writes it down."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Permission, User
from django.db import IntegrityError, connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.models import AuditEntry
from agents.tools import Call
from config.columns import new_id
from entities import hiding, loader
from entities.mechanic import changes, documents, printing, proposing, repository, words, writing
from entities.mechanic.changes import ChangeError
from entities.mechanic.documents import Document, DocumentError
from entities.models import SchemaChange
from entities.models.schema_change import Origin, State

pytestmark = pytest.mark.django_db

ROOT = Path(__file__).resolve().parents[2]
COLUMN = {"table": "characters", "name": "birthday", "type": "date"}


def asked(**parts: Any) -> dict[str, Any]:
    return {"title": "A wish", **parts}


def column(**parts: Any) -> dict[str, Any]:
    return asked(add_column=[{**COLUMN, **parts}])


REFUSED: dict[str, tuple[Any, str]] = {
    "drop a table": (asked(drop_table=["notes"]), "Nothing is ever dropped"),
    "drop a column": (asked(drop_column=["notes.title"]), "mechanic revert"),
    "rename": (asked(rename_column={"from": "a"}), "Nothing is ever renamed"),
    "narrow": (asked(alter_column={"table": "notes"}), "do not change their type"),
    "not null without default": (column(null=False), "NOT NULL without a default"),
    "required in an old table": (column(required=True), "only a new table"),
    "reserved word": (column(name="select"), "reserved word"),
    "python's word": (column(name="class"), "reserved word"),
    "64 bytes": (column(name="a" * 64), "at most 63 bytes"),
    "64 bytes, table": (
        asked(add_table=[{"name": "a" * 64, "singular": "a", "columns": [{"name": "x", "type": "text"}]}]), "63 bytes"),
    "existing column": (column(name="age"), "there already"),
    "base field": (column(name="is_deleted"), "is there already"),
    "a method": (column(name="save"), "the name is taken"),
    "existing table": (
        asked(add_table=[{"name": "messages", "singular": "letter", "columns": [{"name": "x", "type": "text"}]}]),
        "There is a table messages already"),
    "existing model": (
        asked(add_table=[{"name": "heroes", "singular": "character", "columns": [{"name": "x", "type": "text"}]}]),
        "There is a table of character already"),
    "no such table": (column(table="heroes"), "There is no table"),
    "not our table": (column(table="messages"), "There is no table"),
    "no such type": (column(type="money"), "Input should be"),
    "wrong default": (column(type="integer", default="many"), "the default is no integer"),
    "default too large": (column(type="integer", default=2**31), "use bigint"),
    "default of 400 digits": (column(type="decimal", default=10**400), "does not fit"),
    "default beyond bigint": (column(type="bigint", default=2**63), "does not fit"),
    "default beyond digits": (column(type="decimal", digits=4, decimals=2, default=101), "does not fit"),
    "default infinite": ('title = "A wish"\n[[add_column]]\ntable = "notes"\nname = "x"\ntype = "float"\ndefault = inf',
                         "does not fit"),
    "default too long": (column(type="string", max_length=2, default="abc"), "longer than the column"),
    "capitals": (column(name="Birthday"), "small letters"),
    "two underscores": (column(name="a__b"), "small letters"),
    "injection": (column(name='x"; DROP TABLE notes; --'), "small letters"),
    "russian": (column(name="возраст"), "small letters"),
    "twice": (asked(add_column=[COLUMN, COLUMN]), "asked for twice"),
    "unknown key": (column(index=True), "Extra inputs"),
    "no choices": (column(type="choice"), "which choices"),
    "choice that is there": (
        asked(add_choice=[{"table": "projects", "column": "status", "value": "active"}]), "has the choice"),
    "choice of a text": (
        asked(add_choice=[{"table": "notes", "column": "text", "value": "a"}]), "no column of choices"),
    "index on nothing": (asked(add_index=[{"table": "notes", "columns": ["nothing"]}]), "has no column"),
    "index that is there": (asked(add_index=[{"table": "notes", "columns": ["conversation_id"]}]), "an index on these"),
    "nothing": (asked(), "asks for nothing"),
    "no document": ("= [", "neither TOML nor JSON"),
    "too long": ("#" * 60_000, "longer than"),
    "deep": ("{" + '"a":[' * 100_000, "longer than"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_with_a_reason_and_nothing_is_kept(name: str) -> None:
    document, reason = REFUSED[name]
    with pytest.raises(DocumentError, match=reason):
        changes.propose(document, by="t", origin=Origin.FILE)
    assert not SchemaChange.objects.exists()
    assert repository.read("entities/schema/characters.py") == (ROOT / "entities/schema/characters.py").read_text()


LABELS = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"], max_codepoint=0x4FF), max_size=60)
NAMES = st.from_regex(r"\A[a-z][a-z0-9]{0,12}(_[a-z0-9]{1,8}){0,2}\Z").map(lambda name: f"x{name}")
COLUMNS = st.one_of(
    st.fixed_dictionaries({"name": NAMES, "type": st.sampled_from(["text", "date", "uuid", "list", "float"])},
                          optional={"label": LABELS}),
    st.fixed_dictionaries({"name": NAMES, "type": st.just("string"), "default": LABELS, "max_length": st.just(60)}),
    st.fixed_dictionaries({"name": NAMES, "type": st.just("integer"), "default": st.integers(-9, 9)}),
    st.fixed_dictionaries({"name": NAMES, "type": st.just("boolean"), "default": st.booleans()}),
    st.fixed_dictionaries({"name": NAMES, "type": st.just("reference"), "to": st.sampled_from(["projects", "notes"])},
                          optional={"label": LABELS}),
    st.fixed_dictionaries({"name": NAMES, "type": st.just("choice"), "choices": st.lists(
        st.fixed_dictionaries({"value": LABELS.filter(lambda text: text.strip() and len(text.strip()) <= 50)},
                              optional={"label": LABELS}),
        min_size=1, max_size=4, unique_by=lambda one: one["value"].strip())}),
)  # fmt: skip


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(COLUMNS, min_size=1, max_size=5, unique_by=lambda one: one["name"]), LABELS, st.booleans())
def test_what_it_writes_is_what_the_formatter_would_leave(columns: list[Any], label: str, new: bool) -> None:
    if new:
        table = {"name": "xplaces", "singular": "xplace", "label": label, "columns": columns}
        wanted = Document.model_validate(asked(add_table=[table]))
    else:
        wanted = Document.model_validate(asked(add_column=[{"table": "characters", **one} for one in columns]))
    existing = {name: (ROOT / f"entities/schema/{name}.py").read_text() for name in loader.MODELS}
    classes = {name: model.__name__ for name, model in loader.MODELS.items()}
    for text in writing.files(wanted, existing, classes).values():
        ast.parse(text)
        formatted = subprocess.run(
            [str(Path(sys.executable).parent / "ruff"), "format", "--stdin-filename", "entities/schema/x.py", "-"],
            input=text, capture_output=True, text=True, check=True, cwd=ROOT,
        )  # fmt: skip
        assert text == formatted.stdout


def test_a_plan_that_others_have_overtaken_is_planned_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(repository, "ROOT", tmp_path)
    folder = tmp_path / "entities" / "migrations"
    folder.mkdir(parents=True)
    (folder / "0013_before.py").touch()
    planned: repository.Files = {"entities/migrations/0014_wish.py": {"before": None, "after": "x"}}
    repository.check(planned)
    (folder / "0014_another.py").touch()
    for verb in (repository.check, repository.write):
        with pytest.raises(repository.FilesChangedError, match="Plan it again"):
            verb(planned)


def test_texts_that_look_like_escapes_are_texts() -> None:
    odd = r"\N{nothing} \u12 \x \""
    table = {"name": "xplaces", "singular": "xplace", "columns": [{"name": "x", "type": "text", "label": odd}]}
    wanted = Document.model_validate(asked(add_table=[{**table, "label": odd, "plural": odd, "description": odd}]))
    tree = ast.parse(writing.files(wanted, {}, {})["xplaces"])
    assert odd.strip() in [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_every_text_survives_its_quotes(value: str) -> None:
    assert ast.literal_eval(printing.text(value)) == value


def test_comments_and_order_of_a_hand_written_file_stay() -> None:
    before = (ROOT / "entities/schema/notes.py").read_text()
    wanted = documents.read(
        asked(add_column=[{"table": "notes", "name": "importance", "type": "integer", "default": 3}])
    )
    (after,) = writing.files(wanted, {"notes": before}, {"notes": "Note"}).values()
    left = [line for line in after.splitlines() if line in before.splitlines()]
    assert left == before.splitlines()
    assert len(after.splitlines()) == len(before.splitlines()) + 1


# --- who may what ---
def rehearsed(**more: Any) -> SchemaChange:
    change = changes.propose(column(), by="agent:relocation", origin=Origin.AGENT)
    SchemaChange.objects.filter(pk=change.pk).update(state=State.REHEARSED, **more)
    change.refresh_from_db()
    return change


@pytest.mark.parametrize("who", ["nobody", "user", "staff", "inactive"])
def test_only_a_person_with_the_permission_approves(who: str) -> None:
    user: User | AnonymousUser = AnonymousUser()
    if who != "nobody":
        user = User.objects.create_user(who, is_staff=who != "user", is_active=who != "inactive")
        if who != "staff":
            user.user_permissions.add(Permission.objects.get(codename="approve_schemachange"))
    change = rehearsed()
    with pytest.raises(ChangeError, match="Only staff"):
        changes.approve(change, user=user)
    change.refresh_from_db()
    assert change.state == State.REHEARSED


def test_an_approval_names_the_person_and_is_on_record() -> None:
    boss = User.objects.create_user("boss", is_staff=True)
    boss.user_permissions.add(Permission.objects.get(codename="approve_schemachange"))
    change = changes.approve(rehearsed(), user=boss)
    assert (change.state, change.approved_by) == (State.APPROVED, "boss")
    assert AuditEntry.objects.filter(action="schema.approve", actor="boss").exists()
    with pytest.raises(ChangeError):
        changes.approve(change, user=boss)


@pytest.mark.parametrize("state", ["approved", "applying", "applied", "reverted"])
def test_the_database_wants_an_approval_too(state: str) -> None:
    change = rehearsed()
    with pytest.raises(IntegrityError), transaction.atomic():
        SchemaChange.objects.filter(pk=change.pk).update(state=state, generation=1)


def test_an_agent_can_propose_and_no_more() -> None:
    call = Call(*([new_id()] * 0), turn_id=None, number=1, conversation_id=None, user_id=1, agent="relocation")  # type: ignore[arg-type]
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL ROLE parley_client")
        told = proposing.propose(call, column())
        refused = proposing.propose(call, asked(drop_table=["notes"]))
        with pytest.raises(Exception, match="permission denied"), transaction.atomic():
            cursor.execute("UPDATE schema_changes SET state = 'approved', approved_by = 'me'")
        with pytest.raises(Exception, match="row-level security"), transaction.atomic():
            cursor.execute(
                "INSERT INTO schema_changes (title, document, origin, proposed_by, state, approved_by)"
                " VALUES ('x', '{}', 'form', 'boss', 'approved', 'boss')"
            )
        cursor.execute("RESET ROLE")
    assert told["proposed"] == "A wish"
    assert "Nothing is ever dropped" in refused["refused"][0]
    (change,) = SchemaChange.objects.all()
    assert (change.state, change.origin, change.proposed_by) == ("proposed", "agent", "agent:relocation")


def test_what_is_reverted_is_hidden_and_can_be_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hiding, "HOLDS", -1)
    change = rehearsed(approved_by="boss", generation=1)
    SchemaChange.objects.filter(pk=change.pk).update(state=State.APPLIED)
    assert hiding.hidden() == frozenset()
    changes.revert(change, by="boss")
    assert hiding.hidden() == {"characters.birthday"}
    changes.show(change, by="boss")
    assert hiding.hidden() == frozenset()


def test_plain_words_without_a_model_are_told_so(settings: Any) -> None:
    settings.OPENAI_API_KEY = settings.OPENAI_BASE_URL = ""
    with pytest.raises(DocumentError, match="A document works without one"):
        words.read("characters need a birthday")


def test_the_documents_of_the_guide_are_right() -> None:
    guide = (ROOT / "docs" / "mechanic.md").read_text()
    parts = [part.partition("```")[0] for part in guide.split("```toml\n")[1:]]
    assert parts
    for part in parts:
        documents.read(part)
        tomllib.loads(part)
