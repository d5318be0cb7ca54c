"""The record of deeds: written in the transaction of what it records, so that neither exists without the other.

The database refuses changes and chains the entries at commit (ADR 0071). Details hold ids, names and numbers; never
what a person wrote, never a secret.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import structlog
from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection

from agents.models import Status
from config.env import ROOT

Subject = tuple[str, object]  # what it was done to: its kind and its id

CODE_CHANGES = frozenset(
    {"code_change", "deploy", "rollback", "schema.migrate", "schema.apply"}
)  # these say which code
# Without RETURNING: a user's own call may add to the record and not read it.
RECORD = """
INSERT INTO audit_log
    (action, actor, subject_type, subject_id, details, request_id, on_behalf_of, status, git_commit, git_branch)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""


def record(  # noqa: PLR0913  keyword-only, one per column
    action: str,
    actor: str,
    subject: Subject | None = None,
    details: Mapping[str, Any] | None = None,
    *,
    on_behalf_of: str = "",
    before: Any = None,
    after: Any = None,
    status: str = Status.SUCCESS,
    git_commit: str | None = None,
    git_branch: str | None = None,
) -> None:
    """Put a deed on record. `before` and `after` become part of the details."""
    told = dict(details or {})
    told |= {key: value for key, value in (("before", before), ("after", after)) if value is not None}
    if action in CODE_CHANGES:
        commit, branch = _code()
        git_commit, git_branch = git_commit or commit, git_branch or branch
    row = _row(action, actor, subject, told)
    with connection.cursor() as cursor:
        cursor.execute(RECORD, [*row, on_behalf_of[:100], status, git_commit, git_branch])


def record_all(action: str, actor: str, deeds: Iterable[tuple[Subject, Mapping[str, Any]]]) -> None:
    """The same deed done to many, with the details of each; one entry for each, in one round trip."""
    rows = [[*_row(action, actor, subject, told), "", Status.SUCCESS, None, None] for subject, told in deeds]
    with connection.cursor() as cursor:
        cursor.executemany(RECORD, rows)


def _row(action: str, actor: str, subject: Subject | None, told: Mapping[str, Any]) -> list[Any]:
    kind, id_ = subject or ("", "")
    details = json.dumps(told, cls=DjangoJSONEncoder)
    request_id = str(structlog.contextvars.get_contextvars().get("request_id", ""))
    return [action, (actor or "unknown")[:100], kind, str(id_)[:200], details, request_id[:64]]


@cache
def _code() -> tuple[str | None, str | None]:
    """Commit and branch of the running code: from GIT_COMMIT and GIT_BRANCH in an image, else from the checkout."""
    commit = settings.GIT_COMMIT or _git("rev-parse", "HEAD")
    branch = settings.GIT_BRANCH or _git("rev-parse", "--abbrev-ref", "HEAD")
    return commit, branch and branch[:100]


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *words],  # noqa: S607  found like any command
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
