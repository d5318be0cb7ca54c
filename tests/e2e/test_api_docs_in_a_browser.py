"""The API's page works without the network, under the strict policy, with a silent console."""

from __future__ import annotations

import pytest
from pytest_django.live_server_helper import LiveServer
from selenium import webdriver

from conversations import keys
from tests.e2e.conftest import Browser

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def browser(chromium: webdriver.Chrome, live_server: LiveServer) -> Browser:
    """A visit that begins at the page itself: its own icon is all it asks for."""
    visit = Browser(chromium, live_server)
    visit.resize(1280, 1000)
    return visit


def test_a_call_is_tried_from_the_page(browser: Browser) -> None:
    token = keys.create("docs", by="test")[1]
    browser.open("/api/docs")
    browser.until(lambda: len(browser.all(".opblock")) >= 5, "the calls are listed")
    browser.find(".authorize").click()
    browser.until(lambda: browser.all(".auth-container input"), "the key is asked for")
    browser.find(".auth-container input").send_keys(token)
    browser.find(".auth-btn-wrapper .authorize").click()
    browser.until(lambda: browser.all(".auth-btn-wrapper .btn-done"), "the key is taken")
    browser.find(".auth-btn-wrapper .btn-done").click()
    browser.find(".opblock-summary-control").click()
    browser.until(lambda: browser.all(".try-out__btn"), "the first call opens")
    browser.find(".try-out__btn").click()
    browser.run("arguments[0].scrollIntoView()", browser.find(".execute-wrapper"))
    browser.until(lambda: browser.all(".body-param__text"), "the body can be written")
    body = browser.find(".body-param__text")
    browser.run(
        "Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, 'value').set.call(arguments[0], arguments[1]);"
        "arguments[0].dispatchEvent(new Event('input', {bubbles: true}));",
        body,
        '{"user_id": 7}',
    )
    browser.run("arguments[0].click()", browser.find(".execute"))
    browser.until(lambda: browser.all(".live-responses-table tbody"), "the answer is shown")
    browser.until(lambda: "201" in browser.find(".live-responses-table tbody").text, "the session is opened")
    assert browser.complaints == []
    hosts = browser.run("return performance.getEntriesByType('resource').map(entry => new URL(entry.name).host)")
    assert set(hosts) == {browser.base.removeprefix("http://")}
