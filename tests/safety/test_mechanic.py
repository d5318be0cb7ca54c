"""A change from the document to every process; killed at any step, run again, and never half done."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests import scratch
from tests.patience import PATIENCE
from tests.processes import Running, eventually, free_port
from tests.scratch import Project

pytestmark = pytest.mark.django_db(transaction=True)

WISH = """title = "Characters have a birthday"
[[add_column]]
table = "characters"
name = "birthday"
type = "date"
[[add_index]]
table = "characters"
columns = ["birthday"]
"""
APPROVE = (
    "from django.contrib.auth.models import User; from entities.mechanic import changes;"
    "boss = User.objects.filter(username='boss').first() or User.objects.create_superuser('boss', '', 'x');"
    "changes.approve(changes.find('latest'), user=boss)"
)


def git(project: Project, *words: str) -> str:
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-C", str(project.folder), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def checkout(project: Project) -> Project:
    git(project, "init", "-q")
    git(project, "add", "-A")
    git(project, "commit", "-qm", "start")
    return project


def step(project: Project, *words: str, **variables: str) -> str:
    done = project.manage("mechanic", *words, **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def approved(project: Project) -> None:
    (project.folder / "var").mkdir(exist_ok=True)
    (project.folder / "var" / "wish.toml").write_text(WISH)
    said = step(project, "plan", "var/wish.toml")
    assert "+    birthday = models.DateField" in said
    assert 'ALTER TABLE "characters" ADD COLUMN "birthday" date NULL' in said
    refused = project.manage("mechanic", "apply")
    assert refused.returncode == 1
    assert "not approved" in refused.stderr
    step(project, "rehearse")
    done = project.manage("shell", "-v0", "-c", APPROVE)
    assert done.returncode == 0, done.stderr


def state(project: Project) -> str:
    return str(project.ask("SELECT state FROM schema_changes"))


def has_column(project: Project) -> bool:
    query = "SELECT count(*) FROM information_schema.columns WHERE table_name='characters' AND column_name='birthday'"
    return bool(project.ask(query))


@scratch.long
@pytest.mark.parametrize("crash", ["mechanic_migrated", "mechanic_files", "mechanic_committed"])
def test_killed_and_run_again_it_is_applied_once(checkout: Project, crash: str) -> None:
    approved(checkout)
    killed = checkout.manage("mechanic", "apply", CRASH_AT=crash)
    assert killed.returncode == 137, killed.stderr
    assert state(checkout) == "applying"
    step(checkout, "apply")
    assert state(checkout) == "applied"
    assert has_column(checkout)
    assert git(checkout, "log", "--format=%s").splitlines() == ["Characters have a birthday", "start"]
    assert git(checkout, "status", "--short") == ""
    drift = checkout.manage("makemigrations", "--check", "--dry-run")
    assert drift.returncode == 0, drift.stdout
    assert checkout.ask("SELECT count(*) FROM audit_log WHERE action = 'schema.apply' AND git_commit IS NOT NULL") == 1
    assert "The record is whole" in checkout.manage("audit", "verify").stdout
    assert checkout.ask("SELECT count(*) FROM notes") == 200


@scratch.long
def test_a_failed_step_puts_every_file_back(checkout: Project) -> None:
    approved(checkout)
    with checkout.connect() as found:
        found.execute("ALTER TABLE characters ADD COLUMN birthday text")  # somebody was here by hand
    done = checkout.manage("mechanic", "apply")
    assert done.returncode == 1
    assert "Every file is as it was" in done.stderr
    assert state(checkout) == "failed"
    assert git(checkout, "status", "--short") == ""


@scratch.long
def test_files_that_changed_meanwhile_are_not_written_over(checkout: Project) -> None:
    approved(checkout)
    path = checkout.folder / "entities" / "schema" / "characters.py"
    path.write_text(path.read_text() + "\n# by hand\n")
    done = checkout.manage("mechanic", "apply")
    assert "Plan it again" in done.stderr
    assert path.read_text().endswith("# by hand\n")
    assert not has_column(checkout)


# --- every process ---
class Site:
    """Web and worker of the checkout, and somebody who talks all the time."""

    def __init__(self, project: Project, port: int) -> None:
        self.project, self.base = project, f"http://127.0.0.1:{port}"
        self.token = re.search(r"^\s*(\S{30,})\s*$", project.manage("apikey", "create", "t").stdout, re.MULTILINE)
        self.over, self.sent, self.failed = threading.Event(), 0, []

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        assert self.token
        headers = {"Authorization": f"Bearer {self.token[1]}", "Content-Type": "application/json"}
        data = json.dumps(body).encode() if body else None
        request = urllib.request.Request(f"{self.base}/api{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.load(answer)

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.base}/healthz", timeout=5):
                return True
        except OSError:
            return False

    def talk(self, session: str) -> None:
        while not self.over.wait(0.05):
            body = {"session_id": session, "role": "user", "content": "hi", "external_id": str(self.sent)}
            try:
                self.ask("POST", "/messages/append", body)
                self.sent += 1
            except (OSError, urllib.error.HTTPError) as error:
                self.failed.append(repr(error))  # type: ignore[attr-defined]


@contextmanager
def started(project: Project, *command: str, **variables: str) -> Iterator[Running]:
    arguments = [sys.executable, str(project.folder / "manage.py"), *command]
    child = Running(*arguments, **{**project.variables, **variables})
    try:
        yield child
    finally:
        if child.process.poll() is None:
            child.end(15)


@scratch.long
def test_every_process_knows_the_column_and_no_message_is_lost(checkout: Project, tmp_path: Path) -> None:
    port = free_port()
    with started(checkout, "web", PORT=str(port)) as web, started(checkout, "worker", "--processes", "2") as worker:
        site = Site(checkout, port)
        eventually(site.answers, "the web process answers")
        session = site.ask("POST", "/sessions", {"user_id": 1})["id"]
        talker = threading.Thread(target=site.talk, args=(session,))
        talker.start()
        try:
            approved(checkout)
            step(checkout, "apply")
            web.wait_for("begins anew")
            worker.wait_for("begins anew")
            worker.wait_for("Working with")
            sent = site.sent
            eventually(lambda: site.sent > sent + 20, "the new web process takes messages")
        finally:
            site.over.set()
            talker.join()
        assert site.failed == []
        assert site.ask("GET", f"/sessions/{session}")["message_count"] == site.sent
