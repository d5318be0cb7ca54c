"""The search page by keyboard, in a real browser, with its console read."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from selenium.webdriver.common.keys import Keys

from conversations import log, sessions
from tests.e2e.conftest import Browser
from tests.searching import embedder, settle

pytestmark = pytest.mark.django_db(transaction=True)
FOCUSED = "return document.activeElement"


def test_from_the_question_to_the_message_without_a_mouse(browser: Browser, anna: User) -> None:
    with embedder():
        conversation, _new = sessions.open(7, title="About the <b>move</b>")
        for text in ("The piano was heavy", "Cats sleep", "A piano again"):
            log.append(conversation.pk, "user", text)
        settle()
        browser.enter(anna)
        browser.open("/admin/search/find/?mode=keyword")
        browser.run("document.activeElement.blur()")
        browser.find("body").send_keys("/")
        assert browser.run(FOCUSED).get_attribute("name") == "q"
        browser.run(FOCUSED).send_keys("piano", Keys.ENTER)
        browser.until(lambda: len(browser.all(".hit")) == 2, "two hits")
        assert not browser.overflows()
        question = browser.find("input[type=search]")
        question.send_keys(Keys.ARROW_DOWN, Keys.NULL)
        browser.run(FOCUSED).send_keys(Keys.ARROW_DOWN)
        second = browser.all(".hit a.place")[1]
        assert browser.run(FOCUSED) == second
        second.send_keys(Keys.ESCAPE)
        assert browser.run(FOCUSED).get_attribute("name") == "q"
        browser.run(FOCUSED).send_keys(Keys.ARROW_DOWN)
        browser.run(FOCUSED).send_keys(Keys.ENTER)
        browser.until(lambda: "/change/" in browser.driver.current_url, "the transcript")
        browser.until(lambda: browser.all(".bubble.wanted"), "the message")
        assert "piano" in browser.find(".bubble.wanted").text


def test_it_fits_a_phone(browser: Browser, anna: User) -> None:
    with embedder():
        conversation, _new = sessions.open(7)
        log.append(conversation.pk, "user", "piano " + "x" * 3_000)
        settle()
        browser.enter(anna, "ru")
        browser.resize(390, 844)
        for address in ("", "?q=piano&exact=1", "?q=piano&user=x", "?q=nothing&mode=keyword"):
            browser.open(f"/admin/search/find/{address}")
            assert not browser.overflows(), address
