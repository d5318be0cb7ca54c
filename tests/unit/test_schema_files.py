"""A wrong schema file is named with its line and its mistake, and takes no other table with it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from django.apps import apps

import entities.schema
from entities import checks, loader
from entities.base import naming_field, own_fields

HEAD = "from django.db import models\nfrom entities.base import Entity\n"
GOOD = """
class Place(Entity):
    name = models.CharField(max_length=200)
    class Meta:
        db_table = "places"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A second folder of schema files; what a test loads from it is gone afterwards."""
    monkeypatch.setattr(entities.schema, "__path__", [*entities.schema.__path__, str(tmp_path)])
    monkeypatch.setattr(loader, "MODELS", {})
    monkeypatch.setattr(loader, "PROBLEMS", [])
    known = set(apps.all_models["entities"])
    yield tmp_path
    for name in set(apps.all_models["entities"]) - known:
        del apps.all_models["entities"][name]
    for path in tmp_path.glob("*.py"):
        sys.modules.pop(f"entities.schema.{path.stem}", None)
    apps.clear_cache()


def load(folder: Path, source: str, name: str = "places") -> loader.Problem | None:
    (folder / f"{name}.py").write_text(HEAD + dedent(source))
    loader.load(folder)
    return loader.PROBLEMS[-1] if loader.PROBLEMS else None


@pytest.mark.parametrize(
    ("source", "line", "reason"),
    [
        ("class Place(Entity)\n    pass", 3, "SyntaxError: expected ':'"),
        ("import nothing_of_this_name", 3, "ModuleNotFoundError"),
        ("x = 1\ny = x / 0", 4, "ZeroDivisionError"),
        ("class Place(Entity):\n    name = models.Charfield()", 4, "no attribute 'Charfield'"),
        ("class Place:\n    pass", 1, "declares 0 models"),
        (GOOD + GOOD.replace("Place", "Spot").replace("places", "spots"), 1, "declares 2 models"),
        (GOOD.replace('"places"', '"elsewhere"'), 7, "db_table is 'elsewhere'"),
        (GOOD.replace("        db_table = ", "        x = "), 4, "TypeError"),
        (
            GOOD.replace("    class Meta", "    created_by = models.TextField()\n    class Meta"),
            6,
            "created_by is a base",
        ),
        (GOOD.replace("name =", f"{'n' * 64} ="), 5, "longer than 63 bytes"),
        (GOOD.replace("class Place", f"class P{'l' * 50}"), 4, "longer than 50"),
        (GOOD.replace("class Place", "class Note"), 4, "Conflicting 'note' models"),
        (GOOD.replace("(Entity)", "(models.Model)"), 1, "declares 0 models"),
    ],
)
def test_a_wrong_file_is_told_with_line_and_reason(folder: Path, source: str, line: int, reason: str) -> None:
    problem = load(folder, source)
    assert problem
    assert reason in problem.reason
    assert (problem.file.name, problem.line) == ("places.py", line)
    assert loader.MODELS == {}
    assert not {"place", "spot"} & set(apps.all_models["entities"])
    assert apps.get_model("entities", "Note").__module__ == "entities.schema.notes"


@pytest.mark.parametrize("name", ["class", "two words", "1st", "a" * 64])
def test_a_name_that_is_no_table_is_refused(folder: Path, name: str) -> None:
    problem = load(folder, GOOD, name)
    assert problem
    assert "cannot be a table" in problem.reason


def test_the_others_are_loaded_and_the_check_stops_whoever_makes_migrations(folder: Path) -> None:
    (folder / "broken.py").write_text("1 / 0")
    assert load(folder, GOOD)
    assert [model.__name__ for model in loader.models()] == ["Place"]
    (error,) = checks.schema_files()
    assert (error.id, error.obj) == ("entities.E001", "broken.py")
    assert "broken.py:1: ZeroDivisionError" in error.msg
    assert error.hint


def test_a_file_without_labels_gets_some(folder: Path) -> None:
    source = GOOD.replace("    class Meta", "    first_seen_at = models.DateField(null=True)\n    class Meta")
    assert load(folder, source) is None
    (model,) = loader.models()
    assert [str(field.verbose_name) for field in own_fields(model)] == ["name", "first seen at"]
    assert naming_field(model) == "name"


def test_the_four_tables_are_there() -> None:
    assert list(loader.MODELS) == ["characters", "ideas", "notes", "projects"]
    assert loader.PROBLEMS == []
    assert loader.model_of("character") is loader.MODELS["characters"]
