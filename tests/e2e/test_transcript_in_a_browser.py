"""Conversations as staff read them: nothing written acts, the newest is in sight, a link leads to its message."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import User
from django.test import Client

from conversations import log, sessions
from conversations.models import Conversation

if TYPE_CHECKING:
    from tests.e2e.conftest import Browser

LIST = "/admin/conversations/conversation/"
EVIL = [
    "<script>window.hit = 1</script>",
    "<img src=x onerror='window.hit = 2'>",
    "<div x-data x-init='window.hit = 3' hx-get='/admin/' hx-trigger='load'>",
    "{{ 7 * 7 }} javascript:window.hit=4",
    "pay \u202e001$ now",
    "Z" + "\u0351\u0310\u0345" * 60,
    "a" * 3000,
    "line\n" * 100,
    "мы переезжаем в Тбилиси 👨‍👩‍👧‍👦",
]


@pytest.fixture
def talk(transactional_db: None) -> Conversation:
    found, _ = sessions.open(7, title=EVIL[1], channel="telegram", chat_id=7, metadata={"note": EVIL[0]})
    for number in range(60):
        log.append(found.pk, "user" if number % 2 else "assistant", f"message {number}")
    for text in EVIL:
        log.append(found.pk, "user", text, metadata={"said": text})
    return sessions.get(found.pk)


@pytest.mark.parametrize("look", [("en", "light", 1280), ("ru", "dark", 1280), ("ru", "light", 390)])
def test_pages_are_clean_inert_and_fit(
    browser: Browser, anna: User, talk: Conversation, look: tuple[str, str, int]
) -> None:
    language, theme, width = look
    browser.resize(width, 844)
    browser.enter(anna, language)
    browser.run("localStorage.setItem('adminTheme', arguments[0])", f'"{theme}"')
    paths = (LIST, f"{LIST}{talk.pk}/change/", "/admin/conversations/apikey/", "/admin/conversations/apikey/add/")
    for path in paths:
        browser.open(path)
        browser.until(lambda: browser.run("return document.readyState") == "complete", "the page")
        browser.run("document.querySelectorAll('details').forEach(one => one.open = true)")
        assert browser.run("return window.hit") is None
        assert not browser.overflows(), path


def test_the_newest_message_is_in_sight_and_older_ones_are_a_link_away(
    browser: Browser, anna: User, talk: Conversation
) -> None:
    browser.enter(anna)
    browser.open(f"{LIST}{talk.pk}/change/")
    last = talk.message_count - 1
    browser.until(lambda: _in_sight(browser, f"#m{last}"), "the newest message")
    browser.run("document.querySelector('a[rel=prev]').click()")
    browser.until(lambda: "before=" in browser.driver.current_url and browser.all("#m0"), "the older page")


def test_a_link_leads_to_its_message(browser: Browser, anna: User, talk: Conversation) -> None:
    browser.enter(anna)
    browser.open(f"{LIST}{talk.pk}/change/?at=20#m20")
    browser.until(lambda: _in_sight(browser, "#m20"), "the message")
    assert "wanted" in (browser.find("#m20").get_attribute("class") or "")


def test_a_long_message_unfolds_by_a_click(browser: Browser, anna: User, talk: Conversation) -> None:
    browser.enter(anna)
    browser.open(f"{LIST}{talk.pk}/change/")
    details = browser.find("li.bubble details:not(.extra)")
    before = details.size["height"]
    browser.run("arguments[0].querySelector('summary').click()", details)
    browser.until(lambda: details.size["height"] > before, "the whole message")


def test_a_key_is_made_copied_and_revoked(browser: Browser, anna: User) -> None:
    browser.enter(anna)
    browser.open("/admin/conversations/apikey/add/")
    browser.find("[name=name]").send_keys("CRM")
    browser.find("[name=_save]").click()
    browser.until(lambda: browser.all("#token"), "the token")
    token = browser.find("#token").text
    browser.find("[data-copy]").click()
    browser.until(
        lambda: (
            browser.find("[data-copy]").text == "Copied" or browser.run("return getSelection().toString()") == token
        ),
        "the copy, or the selection where the browser forbids it",
    )
    browser.run("document.querySelector('.shown-once a').click()")
    browser.until(lambda: browser.all(".key-actions .danger"), "the key")
    assert token.split("_", 2)[2] not in browser.driver.page_source
    browser.find(".key-actions .danger").click()
    browser.until(lambda: not browser.all(".key-actions"), "the end of the key")
    assert Client().get("/admin/conversations/apikey/").status_code == 302


def _in_sight(browser: Browser, selector: str) -> bool:
    return bool(
        browser.run(
            "const box = document.querySelector(arguments[0])?.getBoundingClientRect();"
            "return box && box.top >= 0 && box.bottom <= window.innerHeight + 1",
            selector,
        )
    )
