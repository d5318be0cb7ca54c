"""Five quick lines, one answer that arrives by itself: as a newcomer meets the product, through the real server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import User
from selenium.webdriver.common.keys import Keys

from agents import registry
from conversations.models import Message, Turn
from tests import raw
from tests.conversing import quiet
from tests.web import serving

if TYPE_CHECKING:
    from tests.e2e.conftest import Browser

LINES = ["Hi!", "I moved to Lisbon in March", "with two cats", "<b>and a piano</b>", "it was harder than I thought"]


@pytest.fixture
def streamed(browser: Browser, anna: User) -> Iterator[Browser]:
    """The live server of the other tests cannot stream; this one is the product's."""
    registry.sync(by="test")
    settings = {"INTERVIEW_BUFFER_DEBOUNCE_TIMEOUT": "20", "ALLOWED_HOSTS": "*", "DEBUG": "true"}
    with serving(raw.url(), "", **settings) as site:
        browser.base = f"http://localhost:{site.port}"
        browser.enter(anna)
        yield browser
        browser.open("about:blank")


def said(browser: Browser) -> list[str]:
    return [bubble.text for bubble in browser.all(".bubble:not(.live-draft) .said")]


def test_five_quick_lines_get_one_answer_that_arrives_by_itself(streamed: Browser) -> None:
    streamed.open("/admin/conversations/conversation/playground/")
    streamed.find(".agents button").click()
    streamed.until(lambda: streamed.all("#line"), "no place to write")
    for line in LINES:
        streamed.find("#line").send_keys(line, Keys.ENTER)
    streamed.until(lambda: said(streamed) == LINES, "the lines do not appear")
    streamed.until(lambda: "Listening" in streamed.find(".live-status").text, "nobody sees that the agent listens")
    quiet()
    streamed.until(lambda: len(said(streamed)) == len(LINES) + 1, "the answer does not appear")
    assert Turn.objects.count() == 1
    assert Message.objects.get(role="assistant").content == said(streamed)[-1]
    streamed.until(lambda: not streamed.find(".live-status").is_displayed(), "it is over, and the page does not say so")


def test_a_line_that_cannot_be_stored_comes_back_into_the_box(streamed: Browser) -> None:
    streamed.open("/admin/conversations/conversation/playground/")
    streamed.find(".agents button").click()
    streamed.until(lambda: streamed.all("#line"), "no place to write")
    streamed.find("#line").send_keys("\u200b\u200b", Keys.ENTER)
    streamed.until(lambda: streamed.find(".problem").is_displayed(), "nothing is said about it")
    assert streamed.find("#line").get_attribute("value") == "\u200b\u200b"
    streamed.complaints = [line for line in streamed.complaints if "400" not in line]
