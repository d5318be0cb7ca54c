"""The record: nobody changes it, whoever tries is seen, and a deed is there exactly when its entry is."""

from __future__ import annotations

import csv
import io
import json
import threading
from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest
import structlog
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.db.utils import DatabaseError, IntegrityError
from django.utils import timezone
from psycopg import sql

from agents import audit, export, proof
from agents.models import AuditEntry, AuditLink
from tests.patience import PATIENCE

pytestmark = pytest.mark.django_db(transaction=True)

CHANGES = [
    "UPDATE audit_log SET actor = 'somebody else'",
    "UPDATE audit_log SET details = '{}'",
    "UPDATE audit_log SET id = id",
    "DELETE FROM audit_log",
    "TRUNCATE audit_log",
    "TRUNCATE audit_log CASCADE",
    "UPDATE audit_chain SET hash = ''",
    "DELETE FROM audit_chain",
    "TRUNCATE audit_chain",
]


@pytest.fixture
def superuser() -> Iterator[psycopg.Connection]:
    """Somebody with every right, and no triggers in the way."""
    with psycopg.connect(**connection.get_connection_params(), autocommit=True) as other:  # type: ignore[arg-type]
        other.execute("SET session_replication_role = replica")
        yield other


def entries(number: int) -> None:
    for one in range(number):
        audit.record("test.deed", f"user:{one}", ("thing", one), {"number": one})


@pytest.mark.parametrize("statement", CHANGES)
def test_the_record_refuses_every_change(statement: str) -> None:
    entries(2)
    for setting in ("", "SET LOCAL parley.erasing = 'on';" if "TRUNCATE" not in statement else ""):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(setting + statement)
    assert AuditEntry.objects.count() == AuditLink.objects.count() == 2


def test_emptying_is_for_test_databases_that_say_so_alone() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT prosrc FROM pg_proc WHERE proname = 'parley_write_once'")
        assert r"current_database() LIKE 'test\_%'" in cursor.fetchone()[0]


def test_nobody_holds_the_right_to_change_it() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, privilege_type FROM pg_class, aclexplode(relacl)"
            " WHERE relname IN ('audit_log', 'audit_chain')"
        )
        rights = set(cursor.fetchall())
    assert {right for _table, right in rights} & {"UPDATE", "DELETE", "TRUNCATE"} == set()
    assert {("audit_log", "INSERT"), ("audit_log", "SELECT")} <= rights


def test_an_entry_says_who_for_whom_to_what_and_in_which_request() -> None:
    with structlog.contextvars.bound_contextvars(request_id="abcdef0123456789"):
        audit.record(
            "tool.call", "agent:relocation", ("turn", 7), {"n": 1}, on_behalf_of="user:5", before={"a": 1}, after=None
        )
    entry = AuditEntry.objects.get()
    assert entry.who == "agent:relocation on behalf of user:5"
    assert (entry.subject_type, entry.subject_id, entry.request_id) == ("turn", "7", "abcdef0123456789")
    assert entry.details == {"n": 1, "before": {"a": 1}}
    assert entry.git_commit is None


def test_changes_of_code_carry_commit_and_branch() -> None:
    for action in ("code_change", "deploy", "rollback"):
        audit.record(action, "mechanic")
    for entry in AuditEntry.objects.all():
        assert entry.git_commit is None or len(entry.git_commit) == 40
    audit.record("deploy", "mechanic", git_commit="a" * 40, git_branch="main")
    assert AuditEntry.objects.filter(git_commit="a" * 40, git_branch="main").count() == 1
    with pytest.raises(IntegrityError, match="audit_log_commit_is_one"):
        audit.record("deploy", "mechanic", git_commit="HEAD")


def test_what_is_taken_back_was_never_recorded() -> None:
    with transaction.atomic():
        entries(1)
        transaction.set_rollback(True)
    with transaction.atomic():
        entries(1)
        with transaction.atomic():
            entries(1)
            transaction.set_rollback(True)
    assert AuditEntry.objects.count() == AuditLink.objects.count() == 1
    assert proof.verify().problems == []


def test_simultaneous_deeds_make_one_chain_without_gaps() -> None:
    def work(name: int) -> None:
        try:
            for one in range(20):
                with transaction.atomic():
                    audit.record("test.deed", f"user:{name}", ("thing", one))
                    audit.record("test.deed", f"user:{name}", ("thing", one))
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    verdict = proof.verify()
    assert (verdict.entries, verdict.problems) == (320, [])
    assert sorted(AuditLink.objects.values_list("seq", flat=True)) == list(range(1, 321))


def test_whoever_records_holds_nobody_up_until_the_commit() -> None:
    with transaction.atomic():
        entries(1)
        done = threading.Event()

        def meanwhile() -> None:
            try:
                entries(1)
                done.set()
            finally:
                connection.close()

        thread = threading.Thread(target=meanwhile)
        thread.start()
        assert done.wait(PATIENCE), "a second deed waited for the first one's transaction"
        thread.join()
    assert proof.verify().entries == 2


EDITS = [
    ("UPDATE audit_log SET actor = 'nobody' WHERE id = %s", "is not what was recorded"),
    ("UPDATE audit_log SET details = '{\"number\": 99}' WHERE id = %s", "is not what was recorded"),
    ("UPDATE audit_log SET created_at = created_at + interval '1 microsecond' WHERE id = %s", "not what was recorded"),
    ("UPDATE audit_log SET status = 'refused' WHERE id = %s", "is not what was recorded"),
    ("UPDATE audit_log SET subject_id = '' WHERE id = %s", "is not what was recorded"),
    ("DELETE FROM audit_log WHERE id = %s", "is gone"),
    ("DELETE FROM audit_chain WHERE entry_id = %s", "are missing"),
]


@pytest.mark.parametrize(("statement", "told"), EDITS, ids=[edit[0][:45] for edit in EDITS])
def test_a_superusers_edit_is_caught(superuser: psycopg.Connection, statement: str, told: str) -> None:
    entries(5)
    assert proof.verify().problems == []
    victim = AuditLink.objects.get(seq=3).entry_id
    superuser.execute(sql.SQL(statement), [victim])  # type: ignore[arg-type]
    assert told in "\n".join(proof.verify().problems)


def test_an_entry_smuggled_past_the_trigger_is_caught(superuser: psycopg.Connection) -> None:
    superuser.execute("INSERT INTO audit_log (action, actor) VALUES ('test.deed', 'nobody')")
    assert "is in no link" in proof.verify().problems[0]


def test_a_disabled_trigger_is_caught(superuser: psycopg.Connection) -> None:
    superuser.execute("ALTER TABLE audit_log DISABLE TRIGGER audit_log_write_once")
    try:
        assert proof.verify().problems == ["the trigger audit_log_write_once is missing or disabled"]
    finally:
        superuser.execute("ALTER TABLE audit_log ENABLE TRIGGER audit_log_write_once")


def test_a_tail_that_was_cut_or_replaced_is_caught_by_a_head_noted_earlier(superuser: psycopg.Connection) -> None:
    entries(3)
    noted = proof.verify().head
    entries(2)
    assert proof.verify(noted).problems == []
    superuser.execute("DELETE FROM audit_log WHERE id IN (SELECT entry_id FROM audit_chain WHERE seq >= 3)")
    superuser.execute("DELETE FROM audit_chain WHERE seq >= 3")
    assert proof.verify().problems == []  # alone, the rest is whole
    entries(3)
    assert "is not in the chain any more" in proof.verify(noted).problems[0]


def test_the_command_tells_by_its_exit_code(superuser: psycopg.Connection) -> None:
    entries(2)
    out = io.StringIO()
    call_command("audit", "verify", stdout=out)
    assert "2 entries; head 2:" in out.getvalue()
    superuser.execute("UPDATE audit_log SET actor = 'nobody'")
    with pytest.raises(SystemExit):
        call_command("audit", "verify", stdout=out)


def test_an_export_holds_every_entry_and_no_formula() -> None:
    for actor in ("=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", "\tx", " =1", "plain", "＝1"):
        audit.record("test.deed", actor, ("thing", '"quoted", and\nbroken'), {"text": "=1"})
    out = io.StringIO()
    call_command("audit", "export", stdout=out)
    *rows, itself = csv.DictReader(io.StringIO(out.getvalue()))
    assert (itself["action"], itself["actor"]) == ("audit.export", "command")
    assert [row["actor"] for row in rows if not row["actor"].startswith("'")] == ["plain"]
    assert {row["subject_id"] for row in rows} == {'"quoted", and\nbroken'}
    assert [int(row["seq"]) for row in rows] == list(range(1, 9))
    as_lines = [json.loads(line) for line in export.lines(export.entries(), "jsonl")]
    assert as_lines[0]["actor"] == "=HYPERLINK(1)"
    assert as_lines[0]["details"] == {"text": "=1"}
    assert {line["hash"] for line in as_lines} == set(AuditLink.objects.values_list("hash", flat=True))


def test_an_export_can_begin_at_a_day() -> None:
    entries(1)
    tomorrow = (timezone.localdate() + timedelta(days=1)).isoformat()
    out = io.StringIO()
    call_command("audit", "export", "--format", "jsonl", "--since", tomorrow, stdout=out)
    assert out.getvalue() == ""
    call_command("audit", "export", "--format", "jsonl", "--since", timezone.localdate().isoformat(), stdout=out)
    assert [json.loads(line)["action"] for line in out.getvalue().splitlines()][1:] == ["audit.export"] * 2


@pytest.mark.parametrize("text", ["nope", "2026-13-01", "", "2026-01-31T99:00"])
def test_what_is_no_date_is_told(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CommandError, match="is no date; for example 2026-01-31"):
        call_command("audit", "export", "--since", text)
    assert capsys.readouterr().out == ""
