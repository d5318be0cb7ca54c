"""A row may name any file or module; only our own are opened or imported, and the interpreter is witness."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from django.db import IntegrityError, connection, transaction

from agents import allowlist, files, registry, toolbox
from agents.allowlist import ModuleRefusedError
from agents.config import ConfigInvalidError
from agents.models import Agent, AuditEntry, Tool
from tests.witness import watching

CONFIG = 'kind = "chat"\n'
CONFIG_PATHS = [
    "../secret.toml",
    "../../../../etc/passwd",
    "/etc/passwd",
    "/proc/self/environ",
    "%2e%2e/secret.toml",
    "..%2fsecret.toml",
    "..\\secret.toml",
    "a/../../secret.toml",
    "./agent.toml",
    "agent.toml/",
    "agent.toml\0.png",
    "agent.toml\n",
    "link.toml",
    "linked/secret.toml",
    "pipe.toml",
    "folder.toml",
    "agent.TOML",
    "аgent.toml",  # a Cyrillic letter
    "file:///etc/passwd",
    "a" * 4_000 + ".toml",
    "~/secret.toml",
    "",
    "agent.toml ",
    "missing.toml",
]
MODULE_PATHS = [
    "os.system",
    "os",
    "subprocess.Popen",
    "builtins.eval",
    "sideeffect",
    "sideeffect.inner",
    "tests.some_tools.os.system",
    "tests.some_tools.harmless.os",
    "tests.some_tools.harmless.run.__globals__",
    "tests.some_tools._private",
    "tests.some_tools.__init__",
    "tests.some_tools",
    "tests.some_tools..harmless",
    ".harmless",
    "tests.some_tools.harmless\0",
    "tests.some_tools.harmless\n",
    "tests.some_tools․harmless",  # a dot that is none
    "tests.some_tools.hаrmless",  # a Cyrillic letter
    "tests/some_tools/harmless.py",
    "../sideeffect",
    "http://169.254.169.254/",
    "file:///etc/passwd",
    "tests.some_tools.Harmless",
    "a" * 4_000,
    "",
]


@pytest.fixture
def folder(tmp_path: Path, settings: object) -> Path:
    """An agents' folder with one good file, and ways out of it."""
    inside = tmp_path / "agents"
    inside.mkdir()
    (inside / "agent.toml").write_text(CONFIG)
    (tmp_path / "secret.toml").write_text(CONFIG)
    (inside / "link.toml").symlink_to(tmp_path / "secret.toml")
    (inside / "linked").symlink_to(tmp_path)
    (inside / "folder.toml").mkdir()
    os.mkfifo(inside / "pipe.toml")
    settings.AGENTS_DIR = inside  # type: ignore[attr-defined]
    return inside


@pytest.fixture
def tool_packages(tmp_path: Path, settings: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """One allowlisted package, and beside it one that can be imported and must not be."""
    settings.AGENT_TOOL_PACKAGES = ["tests.some_tools"]  # type: ignore[attr-defined]
    package = tmp_path / "sideeffect"
    package.mkdir()
    (package / "__init__.py").write_text("raise AssertionError('imported')")
    (package / "inner.py").write_text("raise AssertionError('imported')")
    monkeypatch.syspath_prepend(tmp_path)


def test_the_good_file_is_read_and_the_witness_sees_it(folder: Path) -> None:
    with watching() as seen:
        files.read("agent.toml")
    assert ("open", str(folder / "agent.toml")) in seen


@pytest.mark.parametrize("path", CONFIG_PATHS, ids=lambda path: ascii(path)[:40])
@pytest.mark.django_db
def test_a_foreign_config_path_is_never_opened(folder: Path, path: str) -> None:
    with watching() as seen, pytest.raises(ConfigInvalidError, match="config_path"):
        files.read(path)
    assert not [event for event in seen if event[0] == "open"]
    with watching() as seen, pytest.raises(ConfigInvalidError, match="config_path"):
        registry.create("agent", path, by="test")
    assert not [event for event in seen if event[0] == "open"]
    assert not Agent.objects.exists()


PLAIN = {"link.toml", "linked/secret.toml", "pipe.toml", "folder.toml", "missing.toml"}  # the file system knows better
IMPOSSIBLE = [path for path in CONFIG_PATHS if path not in PLAIN and "\0" not in path and len(path) < 4_000]


@pytest.mark.parametrize("path", IMPOSSIBLE, ids=lambda path: ascii(path)[:40])
@pytest.mark.django_db
def test_the_database_refuses_a_path_with_a_way_out(path: str) -> None:
    with pytest.raises(IntegrityError, match="agents_config_path_inside"), transaction.atomic():
        Agent.objects.create(name="agent", config_path=path)


@pytest.mark.django_db
def test_a_sync_sees_no_links_pipes_and_folders(folder: Path) -> None:
    done = registry.sync(by="test")
    assert {one.config_path: one.outcome for one in done if one.outcome != "invalid"} == {"agent.toml": "created"}
    assert {one.config_path for one in done if one.outcome == "invalid"} >= {"folder.toml", "link.toml", "pipe.toml"}


@pytest.mark.usefixtures("tool_packages")
def test_the_good_module_is_loaded_and_the_witness_sees_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "tests.some_tools.harmless", raising=False)
    with watching() as seen:
        assert allowlist.load("tests.some_tools.harmless").run() == "done"
    assert [event for event in seen if event[0] == "exec"]


@pytest.mark.parametrize("path", MODULE_PATHS, ids=lambda path: ascii(path)[:40])
@pytest.mark.django_db
@pytest.mark.usefixtures("tool_packages")
def test_foreign_code_is_never_imported(path: str) -> None:
    allowlist.modules()
    before = set(sys.modules)
    with watching() as seen, pytest.raises(ModuleRefusedError):
        toolbox.save("tool", module_path=path, by="staff")
    row = Tool(name="tool", module_path=path)  # as if it had been written past every check
    with watching() as seen_at_run, pytest.raises(ModuleRefusedError):
        toolbox.code_of(row)
    assert not {event for event, _what in seen + seen_at_run if event in {"import", "exec", "open", "os.system"}}
    assert set(sys.modules) == before
    assert not Tool.objects.exists()
    assert AuditEntry.objects.filter(action="tool.refuse", status="refused", subject_id="tool").count() == 2


@pytest.mark.django_db
def test_a_row_cannot_name_more_than_a_dotted_path() -> None:
    for path in ("os.system()", "a b.c", "..os", "OS.system", "os"):
        with pytest.raises(IntegrityError, match="tools_module_path_plain"), transaction.atomic():
            Tool.objects.create(name="tool", module_path=path)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM tools")
        assert cursor.fetchone() == (0,)
