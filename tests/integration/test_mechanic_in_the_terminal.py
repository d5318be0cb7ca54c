"""What `manage.py mechanic` says to somebody who begins in the middle."""

from __future__ import annotations

import socket
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from entities.mechanic import drafting
from entities.models import SchemaChange

pytestmark = pytest.mark.django_db


def refused(*words: str) -> str:
    with pytest.raises(CommandError) as said:
        call_command("mechanic", *words, stdout=StringIO())
    return str(said.value)


def test_without_a_change_every_step_names_the_first_one() -> None:
    for step in ("rehearse", "apply", "revert"):
        assert "mechanic plan FILE" in refused(step)


def test_a_document_that_is_not_there_is_called_a_file() -> None:
    assert refused("plan", "wihs.toml").startswith("There is no file 'wihs.toml' here")


def test_a_step_taken_too_early_names_the_one_before_it() -> None:
    SchemaChange.objects.create(title="Characters have a birthday", document={}, origin="file", proposed_by="test")
    assert "manage.py mechanic plan <id>" in refused("apply")


def test_data_beside_the_sources_is_not_copied_whatever_its_folder_is_called(tmp_path: Path, settings: Any) -> None:
    settings.DATA_DIR, settings.BACKUP_DIR = tmp_path / "data", tmp_path / "safe"
    for folder in ("data", "safe", "entities"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "file").touch()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "data" / "s"))
        with drafting.copy_with({"entities/new.py": ""}, root=tmp_path) as folder:
            assert sorted(path.name for path in folder.iterdir()) == ["entities"]
