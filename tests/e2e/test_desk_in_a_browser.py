"""Staff at work in open transcripts: many tabs, and a reply that no event on the page may take away."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from selenium.webdriver.common.keys import Keys

from conversations import log, sessions, takeover
from tests import raw
from tests.web import serving

if TYPE_CHECKING:
    from tests.e2e.conftest import Browser

TALKS = "/admin/conversations/conversation/"
TABS = 9


@pytest.fixture
def streamed(browser: Browser, anna: User) -> Iterator[Browser]:
    """The product's own server: it streams, over HTTP/1.1."""
    with serving(raw.url(), "", ALLOWED_HOSTS="*", DEBUG="true") as site:
        browser.base = f"http://localhost:{site.port}"
        browser.enter(anna)
        yield browser
        first, *others = browser.driver.window_handles
        for handle in others:
            browser.driver.switch_to.window(handle)
            browser.driver.close()
        browser.driver.switch_to.window(first)
        browser.open("about:blank")


@pytest.fixture
def talk(transactional_db: None) -> UUID:
    found = sessions.open(7, title="A talk")[0].pk
    log.append(found, "user", "hello?")
    takeover.take_over(found, by="olga")
    return found


def test_nine_transcripts_load_and_follow_at_one_time(streamed: Browser) -> None:
    talks = [sessions.open(number)[0].pk for number in range(TABS)]
    handles = []
    streamed.driver.set_page_load_timeout(60)
    for number, talk in enumerate(talks):
        if number:
            streamed.driver.switch_to.new_window("tab")
        handles.append(streamed.driver.current_window_handle)
        streamed.open(f"{TALKS}{talk}/change/")
        assert streamed.all(".transcript-page")
    for talk in talks:
        log.append(talk, "user", "hello, everybody")
    for handle in handles:
        streamed.driver.switch_to.window(handle)
        streamed.until(lambda: "hello, everybody" in streamed.find(".transcript").text, "the message does not appear")


def test_a_reply_being_written_outlives_a_colleague_and_a_deletion(streamed: Browser, talk: UUID) -> None:
    streamed.open(f"{TALKS}{talk}/change/")
    box = streamed.find("#reply")
    box.send_keys("Dear Marta, ")
    log.append(talk, "user", "a line to be cleared")
    streamed.until(lambda: streamed.all("#m1"), "the page does not follow")
    log.clear(talk, by="olga")
    streamed.until(lambda: streamed.all("#m1.gone"), "the deletion does not appear")
    assert streamed.run("return document.activeElement.id") == "reply"
    streamed.find("#reply").send_keys("we are here")
    takeover.hand_back(talk, by="olga")
    streamed.until(lambda: "Dear Marta, we are here" in streamed.find(".desks .kept").text, "the text is gone")
    takeover.take_over(talk, by="olga")
    streamed.until(lambda: streamed.all("#reply"), "the box does not come back")
    assert streamed.find("#reply").get_attribute("value") == "Dear Marta, we are here"
    streamed.find("#reply").send_keys(Keys.CONTROL, Keys.ENTER)
    streamed.until(lambda: streamed.find("#reply").get_attribute("value") == "", "it is not sent")
    streamed.until(lambda: "Dear Marta" in streamed.find(".transcript").text, "it does not appear")
    assert [entry.content for entry in log.history(talk) if entry.role == "assistant"] == ["Dear Marta, we are here"]
    streamed.open(f"{TALKS}{talk}/change/")
    assert streamed.find("#reply").get_attribute("value") == ""


def test_a_reply_outlives_the_session(streamed: Browser, anna: User, talk: UUID) -> None:
    streamed.open(f"{TALKS}{talk}/change/")
    streamed.find("#reply").send_keys("Dear Marta")
    Session.objects.all().delete()
    streamed.find("form.reply button").click()
    streamed.until(lambda: streamed.find("form.reply .problem").is_displayed(), "nothing is said about it")
    assert streamed.find("#reply").get_attribute("value") == "Dear Marta"
    streamed.find("form.reply .problem a").click()
    streamed.until(lambda: streamed.all("#id_username"), "no page to log in")
    streamed.enter(anna)
    streamed.open(f"{TALKS}{talk}/change/")
    streamed.until(lambda: streamed.find("#reply").get_attribute("value") == "Dear Marta", "the text is gone")
    streamed.find("form.reply button").click()
    streamed.until(lambda: "Dear Marta" in streamed.find(".transcript").text, "it does not appear")
    assert log.count(talk) == 2
