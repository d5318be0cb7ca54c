"""The pages of whatever tables there are: list, filters, form, lineage, putting back, deleting that is no deleting."""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Permission, User
from django.db import transaction
from django.test import Client
from django.urls import reverse

from agents.models import AuditEntry
from config import origin
from conversations import log, sessions
from entities import keeping, lineage, loader
from entities.admin import story
from entities.base import Entity
from entities.schema.characters import Character
from entities.schema.ideas import Idea
from entities.schema.notes import Note
from entities.schema.projects import Project

pytestmark = pytest.mark.django_db

NASTY = "<script>alert(1)</script>{{ 7|add:7 }}\u202e\u200b%s"


def a(model: type[Entity], **values: Any) -> Any:
    name = "title" if hasattr(model, "title") else "name"
    return keeping.create(model, values={name: "One", **values}, by="bert")


def page(row: Entity, verb: str = "change") -> str:
    here = reverse(f"admin:entities_{row._meta.model_name}_change", args=[row.pk])
    return here if verb == "change" else here.replace("/change/", f"/{verb}/")


def listing(model: type[Entity]) -> str:
    return reverse(f"admin:entities_{model._meta.model_name}_changelist")


def form_of(client: Client, path: str) -> dict[str, str]:
    """The form as a browser would send it back untouched."""
    form = client.get(path).context["adminform"].form
    sent = {name: form[name].value() for name in form.fields}
    shown = {name: "" if value is None else str(value) for name, value in sent.items()}
    return shown | ({"seen": form.stamp} if form.instance.pk else {})


@pytest.mark.parametrize("language", ["en", "ru"])
@pytest.mark.parametrize("table", loader.MODELS)
def test_every_table_has_its_pages(staff: Client, table: str, language: str) -> None:
    model = loader.MODELS[table]
    row = a(model)
    keeping.change(row, values={"created_by": 7}, by="bert")
    for path in (listing(model), page(row), f"{listing(model)}add/"):
        response = staff.get(path, headers={"accept-language": language})
        assert response.status_code == 200
        assert f'lang="{language}"' in response.content.decode()
    assert "One" in staff.get(listing(model)).content.decode()


@pytest.mark.parametrize("table", loader.MODELS)
def test_whatever_is_stored_or_typed_stays_text(staff: Client, table: str) -> None:
    model = loader.MODELS[table]
    name = "title" if hasattr(model, "title") else "name"
    lists = {"traits": [NASTY, 1, None, {"a": NASTY}]} if model is Character else {}
    row = a(model, **{name: NASTY, **lists})
    keeping.change(row, values={name: f"{NASTY} again"}, by=f"anna {NASTY}")
    for path in (listing(model), page(row), "/admin/search/?s=alert", "/admin/entities/entitychange/"):
        text = staff.get(path).content.decode()
        assert "<script>alert" not in text, path
        assert "\u202e" not in re.sub(r"(?s)<textarea.*?</textarea>|<[^>]*>", "", text), path
    for query in ("q=%00", "q=%25_'--", "deleted=x", "created_by=x", "project__id__exact=x", "p=-1", "status__exact=x",
                  "before=x", f"q={row.pk}", "created_at_from=x"):  # fmt: skip
        assert staff.get(f"{listing(model)}?{query}").status_code in {200, 302, 400}, query
    for wrong in ("x", str(uuid4()), "1%00"):
        assert staff.get(f"{listing(model)}{wrong}/change/").status_code in {302, 404}


def test_a_row_is_made_and_changed_by_the_form_and_its_lineage_names_the_person(staff: Client) -> None:
    project = a(Project)
    sent = {"name": "Nina", "role": "", "age": "30", "backstory": "", "traits": "loud\n\n kind ", "project": project.pk}
    response = staff.post(f"{listing(Character)}add/", {**sent, "created_by": "7"})
    assert response.status_code == 302, response.context["adminform"].form.errors
    nina = Character.objects.get()
    assert (nina.role, nina.traits, nina.created_by, nina.project) == (None, ["loud", "kind"], 7, project)
    form = form_of(staff, page(nina))
    assert form["traits"] == "loud\nkind"
    assert staff.post(page(nina), form | {"age": "31"}).status_code == 302
    assert [(change.field, change.actor) for change in lineage.of(nina).filter(action="change")] == [("age", "anna")]
    assert set(AuditEntry.objects.filter(actor="anna").values_list("action", flat=True)) >= {
        "entity.create",
        "entity.change",
    }


def test_what_breaks_a_rule_is_said_at_the_form(staff: Client) -> None:
    for wrong in ({"name": ""}, {"name": "x" * 201}, {"age": "-1"}, {"age": "x"}, {"project": str(uuid4())},
                  {"name": "a\0"}, {"created_by": "9" * 30}, {"traits": "[1,"}):  # fmt: skip
        sent = {"name": "Nina", "role": "", "age": "", "backstory": "", "traits": "", "project": "", "created_by": ""}
        response = staff.post(f"{listing(Character)}add/", sent | wrong)
        assert response.status_code == 200
        assert response.context["adminform"].form.errors, wrong
    assert not Character.objects.exists()


@pytest.mark.parametrize("value", [[], ["a"], ["a", " b"], ["[x]"], ["a\nb"], ["", "x"], [1, None], [["a"], {"b": 1}]])
def test_a_list_survives_the_form_untouched(staff: Client, value: list[Any]) -> None:
    row = a(Character, traits=value)
    staff.post(page(row), form_of(staff, page(row)))
    row.refresh_from_db()
    assert row.traits == value
    assert not lineage.of(row).filter(action="change").exists()


def test_whoever_saves_over_a_change_that_came_meanwhile_is_told_first(staff: Client) -> None:
    row = a(Character, age=1)
    form = form_of(staff, page(row))
    keeping.change(row, values={"age": 2}, by="bert")
    response = staff.post(page(row), form | {"role": "hero"})
    assert "Somebody changed this meanwhile" in response.content.decode()
    row.refresh_from_db()
    assert (row.age, row.role) == (2, None)
    again = form | {"role": "hero", "seen": response.context["adminform"].form.stamp}
    assert staff.post(page(row), again).status_code == 302
    row.refresh_from_db()
    assert row.role == "hero"


def test_a_value_is_put_back_with_one_click(staff: Client) -> None:
    row = a(Character, age=30)
    keeping.change(row, values={"age": 31}, by="bert")
    change = lineage.latest(row)["age"]
    text = staff.get(page(row)).content.decode()
    assert f'value="{change.pk}"' in text
    assert f'action="{page(row, "revert")}"' in text
    assert staff.post(page(row, "revert"), {"change": change.pk}, follow=True).status_code == 200
    row.refresh_from_db()
    assert row.age == 30
    other = a(Character)
    assert staff.post(page(other, "revert"), {"change": change.pk}).status_code == 404
    assert staff.post(page(row, "revert"), {"change": "x"}).status_code == 404
    assert staff.get(page(row, "revert")).status_code == 405


def test_the_page_leads_to_the_sentence(staff: Client) -> None:
    talk = sessions.open(7)[0].id
    entries = [log.append(talk, "user", f"line {number}") for number in range(3)]
    with transaction.atomic(), origin.written_by(origin.Origin("agent", "a", 7, 4, talk, uuid4(), entries[1].id)):
        note = a(Note, message_id=entries[1].id, conversation_id=talk)
    text = staff.get(page(note)).content.decode()
    said = reverse("admin:conversations_conversation_said", args=[entries[1].id])
    assert f'href="{said}"' in text
    assert "version 4" in text
    assert staff.get(said)["Location"].endswith("?at=1#m1")
    assert said in staff.get("/admin/entities/entitychange/").content.decode()
    gone = staff.get(reverse("admin:conversations_conversation_said", args=[uuid4()]), follow=True)
    assert "This message is gone" in gone.content.decode()


def test_deleting_hides_and_restoring_brings_back(staff: Client) -> None:
    row, other = a(Idea), a(Idea, title="Two")
    assert staff.post(page(row, "forget"), follow=True).status_code == 200
    assert "One" not in _table(staff, listing(Idea))
    assert "One" in _table(staff, f"{listing(Idea)}?deleted=only")
    assert "Two" not in _table(staff, f"{listing(Idea)}?deleted=only")
    text = staff.get(page(row)).content.decode()
    assert page(row, "restore") in text
    assert 'name="_save"' not in text
    assert staff.post(page(row), {"title": "changed"}).status_code == 403
    assert staff.post(page(row, "restore")).status_code == 302
    assert "One" in _table(staff, listing(Idea))
    chosen = {"action": "forget_rows", "_selected_action": [row.pk, other.pk]}
    assert "2 rows were deleted" in staff.post(listing(Idea), chosen, follow=True).content.decode()
    chosen["action"] = "restore_rows"
    assert "2 rows are back" in staff.post(f"{listing(Idea)}?deleted=only", chosen, follow=True).content.decode()
    assert staff.get(f"{page(row, 'delete')}").status_code in {403, 404}
    assert Idea.objects.live().count() == 2


def _table(client: Client, path: str) -> str:
    text = client.get(path).content.decode()
    return text[text.index("<tbody") :] if "<tbody" in text else ""


def test_a_deleted_row_is_offered_nowhere(staff: Client) -> None:
    project = a(Project, name="Hidden away")
    where = "/admin/autocomplete/?app_label=entities&model_name=character&field_name=project&term=hidden"
    assert "Hidden away" in staff.get(where).content.decode()
    assert "Hidden away" in staff.get("/admin/search/?s=hidden").content.decode()
    keeping.forget(project, by="anna")
    assert "Hidden away" not in staff.get(where).content.decode()
    assert "Hidden away" not in staff.get("/admin/search/?s=hidden").content.decode()


def test_the_list_is_searched_by_short_text_and_id_and_filtered(staff: Client) -> None:
    project = a(Project)
    hero, villain = a(Character, name="Hero", project=project), a(Character, name="Villain", created_by=7)
    assert "Hero" in _table(staff, f"{listing(Character)}?q=her")
    assert "Villain" not in _table(staff, f"{listing(Character)}?q=her")
    assert "Villain" in _table(staff, f"{listing(Character)}?q={villain.pk}")
    assert "Villain" not in _table(staff, f"{listing(Character)}?project__id__exact={project.pk}")
    assert "Hero" not in _table(staff, f"{listing(Character)}?created_by=7")
    assert f'href="{page(project)}"' in _table(staff, listing(Character))
    assert hero.project == project


def test_a_long_lineage_is_read_page_by_page(staff: Client) -> None:
    row = a(Character)
    for age in range(story.PAGE + 5):
        keeping.change(row, values={"age": age}, by="bert")
    first = staff.get(page(row)).context["lineage"]
    assert len(first.told) == story.PAGE
    older = staff.get(f"{page(row)}?before={first.older}").context["lineage"]
    assert older.older is None
    ids = [told.change.pk for told in (*first.told, *older.told)]
    assert ids == list(story.telling(lineage.of(row)).values_list("pk", flat=True))


@pytest.mark.parametrize(
    ("rights", "may"),
    [
        (["view"], set()),
        (["view", "change"], {"revert"}),
        (["view", "delete"], {"forget", "restore"}),
        ([], set()),
    ],
)
def test_who_may_look_may_not_yet_do(rights: list[str], may: set[str]) -> None:
    person = User.objects.create_user("guest", is_staff=True)
    person.user_permissions.set(Permission.objects.filter(codename__in=[f"{right}_character" for right in rights]))
    client = Client()
    client.force_login(person)
    row = a(Character, age=1)
    keeping.change(row, values={"age": 2}, by="bert")
    change = lineage.latest(row)["age"]
    text = client.get(page(row)).content.decode()
    assert ("Where the values come from" in text) == bool(rights)
    for verb in ("revert", "forget", "restore"):
        answer = client.post(page(row, verb), {"change": change.pk})
        assert (answer.status_code == 302) == (verb in may), verb
        assert answer.status_code in {302, 403}
    assert (client.post(page(row), {"name": "x"}).status_code == 302) == ("change" in rights)


def test_a_list_of_many_rows_asks_few_questions(staff: Client, django_assert_max_num_queries: Any) -> None:
    project = a(Project)
    for number in range(30):
        a(Character, name=f"c{number}", project=project)
    with django_assert_max_num_queries(16):
        staff.get(listing(Character))
