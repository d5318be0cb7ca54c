"""A copy of the project and a database of its own, to be changed, broken and thrown away."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import DictRow

from tests import raw
from tests.patience import LONG
from tests.processes import ROOT

LATER = [pytest.mark.long, pytest.mark.skipif(not LONG, reason="slow: make chaos runs it")]
LEFT_OUT = shutil.ignore_patterns(".git", ".venv*", "var", "__pycache__", ".*_cache", ".hypothesis", "staticfiles")


@dataclass
class Project:
    """Where it is, and which database is its own."""

    folder: Path
    database: str

    @property
    def url(self) -> str:
        place = raw.url()
        return place[: place.rindex("/") + 1] + self.database

    @property
    def variables(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "DATABASE_URL": self.url,
            "DATA_DIR": str(self.folder / "var"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def manage(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=self.folder,
            env={**self.variables, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def connect(self) -> psycopg.Connection[DictRow]:
        return raw.connect(dbname=self.database)

    def ask(self, query: str, *values: Any) -> Any:
        """The first value of the first row."""
        with self.connect() as found:
            row = found.execute(query, values).fetchone()  # type: ignore[arg-type]
        return next(iter(row.values())) if row else None

    def migration(self, name: str, operations: str, *, after: str, above: str = "", atomic: bool = True) -> Path:
        """Write one into `entities`."""
        path = self.folder / "entities" / "migrations" / f"{name}.py"
        path.write_text(
            "from django.contrib.postgres.operations import *\nfrom django.db import migrations, models\n"
            f"{above}\n\nclass Migration(migrations.Migration):\n"
            f"    atomic = {atomic}\n    dependencies = [('entities', '{after}')]\n    operations = [{operations}]\n"
        )
        return path


def copied(folder: Path) -> Path:
    """The sources as they lie here, committed or not."""
    shutil.copytree(ROOT, folder, ignore=LEFT_OUT)
    return folder


def newest_migration() -> str:
    return max(path.stem for path in (ROOT / "entities" / "migrations").glob("0*.py"))


@contextmanager
def database(template: str = "template0") -> Iterator[str]:
    name = f"scratch_{secrets.token_hex(6)}"
    with raw.connect() as admin:
        admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template)))
        try:
            yield name
        finally:
            admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def long(test: Any) -> Any:
    """Half a minute and more, each with processes of its own: behind `make chaos`."""
    for mark in LATER:
        test = mark(test)
    return test
