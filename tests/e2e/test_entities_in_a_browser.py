"""Tables of one's own as a person meets them: a form, its lineage, the way to the sentence and back to a value."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import transaction

from agents import calls, registry
from agents.calls import Asked
from agents.tools import Call
from config import origin
from conversations import log, sessions
from entities import keeping
from entities.schema.characters import Character
from entities.schema.notes import Note
from entities.schema.projects import Project
from tests.answering import an_agent, register
from tests.conversing import quiet, say
from tests.e2e.conftest import Browser

pytestmark = pytest.mark.django_db(transaction=True)

SENTENCE = "She is thirty-four and came to Riga from Tbilisi, with two cats."


def keep(browser: Browser, name: str) -> None:
    """A picture for whoever asks for one by SCREENSHOTS."""
    if folder := os.environ.get("SCREENSHOTS"):
        browser.driver.save_screenshot(str(Path(folder) / f"{name}.png"))


@pytest.fixture
def nina() -> Character:
    """Made by staff, and told more about by an agent."""
    project = keeping.create(Project, values={"name": "The move", "status": "active"}, by="bert")
    values = {"name": "Nina", "role": "heroine", "age": 30, "traits": ["stubborn", "kind"], "project": project}
    character = keeping.create(Character, values=values, by="bert")
    talk = sessions.open(7)[0].id
    said = [log.append(talk, "user", text) for text in ("Hello!", SENTENCE, "That is all.")]
    who = origin.Origin("agent", "interviewer", 7, 3, talk, uuid4(), said[1].id)
    with transaction.atomic(), origin.written_by(who):
        keeping.change(character, values={"age": 34, "backstory": SENTENCE}, by="agent interviewer")
    keeping.change(character, values={"role": "heroine of the second part"}, by="carl")
    return character


@pytest.mark.parametrize("language", ["en", "ru"])
def test_a_value_is_traced_to_its_sentence_and_put_back(
    browser: Browser, anna: User, nina: Character, language: str
) -> None:
    browser.enter(anna, language)
    browser.resize(1280, 1900)
    page = f"/admin/entities/character/{nina.pk}/change/"
    browser.open(page)
    keep(browser, f"character-{language}")
    assert not browser.overflows()
    aged = next(row for row in browser.all(".lineage tbody tr") if "34" in row.text.split())
    aged.find_element("css selector", "a").click()
    browser.until(lambda: "#m1" in browser.driver.current_url, "the transcript, at the message")
    assert SENTENCE in browser.find("#m1").text
    browser.open(page)
    aged = next(row for row in browser.all(".lineage tbody tr") if "34" in row.text.split())
    aged.find_element("css selector", "button").click()
    browser.until(lambda: Character.objects.get(pk=nina.pk).age == 30, "the age of before")
    browser.open(page)
    browser.find("#id_role").clear()
    browser.find("#id_role").send_keys("narrator")
    browser.find("#id_traits").send_keys("\nquick")
    browser.find("[name=_save]").click()
    browser.until(lambda: Character.objects.get(pk=nina.pk).role == "narrator", "the new role")
    assert Character.objects.get(pk=nina.pk).traits == ["stubborn", "kind", "quick"]
    keep(browser, f"characters-{language}")
    assert "Nina" in browser.find("#result_list").text
    browser.open(page)
    browser.find(".key-actions button.danger").click()
    browser.until(lambda: Character.objects.get(pk=nina.pk).is_deleted, "deleted")
    browser.open(page)
    keep(browser, f"character-deleted-{language}")
    browser.resize(390, 900)
    browser.open(page)
    assert not browser.overflows()
    keep(browser, f"character-phone-{language}")
    browser.resize(1280, 900)
    browser.open("/admin/entities/entitychange/")
    keep(browser, f"changes-{language}")
    browser.open("/admin/entities/project/add/")
    keep(browser, f"project-add-{language}")
    browser.open("/admin/")
    keep(browser, f"index-{language}")


@pytest.mark.parametrize("language", ["en", "ru"])
def test_what_agents_did_is_seen(browser: Browser, anna: User, language: str) -> None:
    registry.sync(by="demo")
    talk = sessions.open(7)[0].id
    say(talk, SENTENCE)
    quiet()
    for name in ("save_note", "now"):
        register(name, high_impact=name == "now")
    by = an_agent(tools=["save_note", "now"])
    message = log.history(talk)[0].id
    for number, (tool, arguments) in enumerate(
        [("save_note", {"title": "Nina", "text": SENTENCE}), ("now", {}), ("os.system", {"command": "id"}),
         ("save_note", {"title": 1})], 1
    ):  # fmt: skip
        call = Call(uuid4(), number, talk, 7, by.name, 1, message)
        calls.perform(call, Asked(tool, arguments), calls.offered(by, ("save_note", "now")).get(tool))
    assert Note.objects.get().text == SENTENCE
    browser.enter(anna, language)
    browser.resize(1280, 900)
    for name, path in (("calls", "agents/toolcall/"), ("checkpoints", "agents/checkpointthread/")):
        browser.open(f"/admin/{path}")
        keep(browser, f"{name}-{language}")
        assert not browser.overflows()
        browser.find("#result_list tbody th a").click()
        browser.until(lambda path=path: f"{path}" in browser.driver.current_url, "its page")
        browser.resize(1280, 1400)
        keep(browser, f"{name}-one-{language}")
    browser.open(f"/admin/entities/note/{Note.objects.get().pk}/change/")
    keep(browser, f"note-{language}")
