"""The files of the project: read, written whole or not at all, and committed where there is a checkout."""

from __future__ import annotations

import difflib
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from config.env import ROOT

MIGRATIONS = Path("entities") / "migrations"
Files = Mapping[str, Mapping[str, str | None]]  # path: {"before": text or None, "after": text}
AUTHOR = ("-c", "user.name=Parley mechanic", "-c", "user.email=mechanic@localhost")


class FilesChangedError(Exception):
    """Somebody changed the files since the change was planned."""


def difference(files: Files) -> str:
    """As `git diff` would show it."""
    parts: list[str] = []
    for path, texts in sorted(files.items()):
        before, after = texts["before"], texts["after"] or ""
        parts += difflib.unified_diff(
            (before or "").splitlines(), after.splitlines(),
            "/dev/null" if before is None else f"a/{path}", f"b/{path}", lineterm="",
        )  # fmt: skip
    return "\n".join(parts)


def read(path: str) -> str | None:
    file = ROOT / path
    return file.read_text() if file.is_file() else None


def check(files: Files) -> None:
    """Refuse a plan that saw other files, or migrations after which others have come."""
    planned = {Path(path).name for path in files if Path(path).parent == MIGRATIONS}
    others = {path.name for path in (ROOT / MIGRATIONS).glob("[0-9]*.py")} - planned
    if planned and (newer := sorted(name for name in others if name[:4] >= min(planned)[:4])):
        raise FilesChangedError(f"{newer[0]} has come since this was planned. Plan it again.")
    for path, texts in files.items():
        if read(path) not in (texts["before"], texts["after"]):
            raise FilesChangedError(f"{path} is not what it was when this was planned. Plan it again.")


def write(files: Files) -> None:
    """Every file as it shall be; what stands there must be what the plan saw, or what it writes."""
    check(files)
    for path, texts in files.items():
        _replace(ROOT / path, texts["after"] or "")


def put_back(files: Files) -> None:
    """Every file as it was before; what somebody else wrote since stays."""
    for path, texts in files.items():
        if read(path) != texts["after"]:
            continue
        if texts["before"] is None:
            (ROOT / path).unlink()
        else:
            _replace(ROOT / path, texts["before"])


def _replace(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.new")
    with draft.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


# --- git ---
def commit(paths: Sequence[str], message: str) -> tuple[str, str]:
    """Commit these files and no others. Returns the commit, or why there is none."""
    if _git("rev-parse", "--is-inside-work-tree").stdout.strip() != "true":
        return "", "This is no git checkout: the files are written and not committed."
    add = _git("add", "--", *paths)
    if add.returncode:
        return "", f"Not committed: {_said(add)}"
    if not _git("diff", "--cached", "--quiet", "--", *paths).returncode:
        return head(), ""  # an earlier run came as far as this
    author = () if _git("config", "user.email").stdout.strip() else AUTHOR
    done = _git(*author, "commit", "--quiet", "--no-verify", f"--message={message}", "--", *paths)
    return ("", f"Not committed: {_said(done)}") if done.returncode else (head(), "")


def head() -> str:
    return _git("rev-parse", "HEAD").stdout.strip()


def branch() -> str:
    return _git("rev-parse", "--abbrev-ref", "HEAD").stdout.strip()[:100]


def _git(*words: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["git", "-C", str(ROOT), *words],  # noqa: S607  found like any command
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(["git"], 1, "", str(error))


def _said(done: subprocess.CompletedProcess[str]) -> str:
    return (done.stderr or done.stdout).strip()[-300:]
