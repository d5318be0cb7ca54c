"""A file put into the folder is a table everywhere: pages, lineage, row rights, search; two commands make it so."""

from __future__ import annotations

import json
import secrets
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg import sql

from tests import raw
from tests.processes import ROOT, running

pytestmark = pytest.mark.django_db(transaction=True)

ROOMS = ("config", "search", "agents", "entities", "conversations")
PLACES = '''"""Where something happens."""

from __future__ import annotations

from django.db import models

from entities.base import Entity


class Place(Entity):
    """A place."""

    title = models.CharField(max_length=200)
    first_seen_at = models.DateField(null=True, blank=True)
    is_safe = models.BooleanField(db_default=True, default=True)
    inside = models.ForeignKey("entities.Place", models.SET_NULL, null=True, blank=True, related_name="parts")
    project = models.ForeignKey("entities.Project", models.SET_NULL, null=True, blank=True, related_name="places")

    class Meta:
        db_table = "places"
'''
USE = """
import json, django; django.setup()
from django.core.management import call_command
call_command("makemigrations", "entities", name="places", verbosity=0)
call_command("migrate", verbosity=0)
call_command("makemigrations", check=True, dry_run=True, verbosity=0)
from django.contrib.auth.models import User
from django.db import DatabaseError
from django.test import Client
from conversations.isolation import acting_as
from entities import guarding, keeping, lineage
from entities.loader import MODELS
from search.declarations import declared
Place, Project = MODELS["places"], MODELS["projects"]
user = User.objects.create_superuser("anna", password="x")
client = Client(headers={"host": "localhost"}); client.force_login(user)
outer = keeping.create(Place, values={"title": "Riga", "created_by": 7}, by="anna")
foreign = keeping.create(Place, values={"title": "Oslo", "created_by": 8}, by="anna")
found = {"lacking": guarding.lacking(), "lineage": sorted(change.field for change in lineage.of(outer))}
with acting_as(7):
    found["seen"] = [str(row) for row in Place.objects.all()]
    inner = keeping.create(Place, values={"title": "Old town", "created_by": 7, "inside": outer}, by="key")
try:
    with acting_as(7):
        Place.objects.filter(pk=inner.pk).update(inside=foreign)
except DatabaseError:
    found["foreign link"] = "refused"
headers = {"accept-language": "ru"}
pages = {name: client.get(f"/admin/entities/place/{path}", headers=headers) for name, path in
         {"list": "", "add": "add/", "change": f"{inner.pk}/change/"}.items()}
found["pages"] = {name: page.status_code for name, page in pages.items()}
text = pages["change"].content.decode()
labels = ("first seen at", "is safe", "\u043f\u0440\u043e\u0435\u043a\u0442")
found["labels"] = [label for label in labels if label in text.lower()]
found["menu"] = "/admin/entities/place/" in client.get("/admin/").content.decode()
declaration = declared()["place"]
found["search"] = [declaration.table, declaration.text(inner), declaration.user(inner)]
found["search"].append(declaration.metadata(inner)["title"])
print(json.dumps(found))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project with one file more."""
    for room in ROOMS:
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "entities" / "schema" / "places.py").write_text(PLACES)
    shutil.copy(ROOT / "manage.py", tmp_path)
    return tmp_path


@pytest.fixture
def database() -> Iterator[str]:
    name = f"test_places_{secrets.token_hex(4)}"
    with raw.connect() as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield raw.url().rpartition("/")[0] + f"/{name}"
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def test_a_file_put_into_the_folder_is_a_table_everywhere(project: Path, database: str) -> None:
    variables = {"DATABASE_URL": database, "DJANGO_SETTINGS_MODULE": "config.settings", "PYTHONPATH": str(project)}
    with running(sys.executable, "-c", f"import os; os.chdir({str(project)!r})\n{USE}", **variables) as child:
        found = json.loads(child.wait_for(r"^\{.*\}$").group(0))
        assert child.exit_code() == 0
    assert found == {
        "lacking": [],
        "lineage": ["created_by", "is_deleted", "is_safe", "title"],
        "seen": ["Riga"],
        "foreign link": "refused",
        "pages": {"list": 200, "add": 200, "change": 200},
        "labels": ["first seen at", "is safe", "проект"],
        "menu": True,
        "search": ["places", "Old town", 7, "Old town"],
    }
    written = (project / "entities" / "migrations").glob("*_places.py")
    assert "CreateModel" in next(written).read_text()


def test_a_broken_file_stops_manage_py_and_no_process(project: Path) -> None:
    broken = project / "entities" / "schema" / "places.py"
    broken.write_text(PLACES.replace("models.CharField(", "models.CharFeld("))
    variables = {"PYTHONPATH": str(project), "DJANGO_SETTINGS_MODULE": "config.settings", "DATABASE_URL": raw.url()}
    start = f"import os, sys; os.chdir({str(project)!r}); sys.argv = ['manage.py', 'makemigrations']; "
    with running(sys.executable, "-c", f"{start}import manage; manage.main()", **variables) as child:
        said = child.everything()
        assert child.exit_code() == 1
    assert "entities.E001" in said
    assert "entities/schema/places.py:13: AttributeError" in said
    serve = "import django; django.setup(); from entities.schema.notes import Note; print(Note.objects.count())"
    with running(sys.executable, "-c", f"{start}{serve}", **variables) as child:
        child.wait_for(r"^0$")
        assert child.exit_code() == 0
