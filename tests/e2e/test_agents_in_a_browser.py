"""The pages of agents and of the record, as a person sees them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from django.contrib.auth.models import User

from agents import registry
from agents.models import Agent
from tests.e2e.conftest import Browser

pytestmark = pytest.mark.django_db(transaction=True)


def keep(browser: Browser, name: str) -> None:
    """A picture for whoever asks for one by SCREENSHOTS."""
    if folder := os.environ.get("SCREENSHOTS"):
        browser.driver.save_screenshot(str(Path(folder) / f"{name}.png"))


@pytest.mark.parametrize(("language", "publish"), [("en", "Publish"), ("ru", "Опубликовать")])
def test_a_version_is_compared_and_published(browser: Browser, anna: User, language: str, publish: str) -> None:
    registry.sync(by="demo")
    agent = Agent.objects.get(name="relocation")
    config = {**registry.version(agent, 1).config, "greeting": "Hi! Tell me about your last move."}
    registry.save_version(agent, config, by="anna")
    browser.enter(anna, language)
    browser.resize(1280, 1600)
    browser.open(f"/admin/agents/agent/{agent.pk}/change/?old=1&new=2")
    keep(browser, f"agent-{language}")
    assert len(browser.all(".diff .changed")) == 1
    assert not browser.overflows()
    button = next(one for one in browser.all(".versions button") if one.text == publish)
    button.click()
    browser.until(lambda: Agent.objects.get(pk=agent.pk).active_version == 2, "version 2 speaks")
    browser.resize(390, 900)
    browser.open(f"/admin/agents/agent/{agent.pk}/change/")
    assert not browser.overflows()
    browser.resize(1280, 900)
    browser.open("/admin/agents/auditentry/")
    keep(browser, f"audit-{language}")
    assert "agent.publish" in browser.find("#result_list").text
    browser.open("/admin/agents/agent/")
    keep(browser, f"agents-{language}")
    assert "relocation" in browser.find("#result_list").text
