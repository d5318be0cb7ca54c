"""Projects to break, each from one that was migrated and filled once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests import raw, scratch
from tests.scratch import Project

FILL = """
INSERT INTO projects (name) VALUES ('Northwind'), ('Lighthouse');
INSERT INTO notes (title, text) SELECT 'note ' || n, repeat('x', 50) FROM generate_series(1, 200) AS n
"""


@pytest.fixture(scope="session")
def filled(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A migrated database with rows, to copy from."""
    with scratch.database() as name:
        project = Project(scratch.ROOT, name)
        made = project.manage("migrate", "-v0", DATA_DIR=str(tmp_path_factory.mktemp("data")))
        assert made.returncode == 0, made.stderr
        with project.connect() as found:
            found.execute(FILL)
        yield name


@pytest.fixture
def project(filled: str, tmp_path: Path) -> Iterator[Project]:
    """A copy of the code and of the filled database."""
    with scratch.database(filled) as name:
        yield Project(scratch.copied(tmp_path / "project"), name)


@pytest.fixture
def psql(transactional_db: None) -> Iterator[psycopg.Connection[Any]]:
    """A session past Django, rolled back at the end."""
    with raw.connect(autocommit=False) as session:
        yield session
        session.rollback()
