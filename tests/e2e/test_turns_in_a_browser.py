"""Stories and the desk as staff use them: nothing written acts, and a hasty second click says nothing twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import User

from conversations import buffering, log, sessions
from conversations.models import Conversation, Turn
from tests.e2e.test_transcript_in_a_browser import EVIL

if TYPE_CHECKING:
    from tests.e2e.conftest import Browser

ADMIN = "/admin/conversations"


@pytest.fixture
def talk(transactional_db: None) -> Conversation:
    """With a failed turn, and a burst that is still open."""
    found, _ = sessions.open(7, title=EVIL[1], channel="telegram", chat_id=7)
    for text in EVIL:
        buffering.receive(found.pk, text, question_context=text[:500])
    buffering.flush_now(found.pk, 0, by="anna")
    trace = {"model": EVIL[0], "prompt": [{"role": EVIL[1], "content": text} for text in EVIL], "tool_calls": EVIL}
    Turn.objects.update(trace=trace, status="failed", error=EVIL[0])
    buffering.receive(found.pk, EVIL[0])
    return found


@pytest.mark.parametrize("look", [("en", "light", 1280), ("ru", "dark", 390)])
def test_stories_and_lists_are_clean_inert_and_fit(
    browser: Browser, anna: User, talk: Conversation, look: tuple[str, str, int]
) -> None:
    language, theme, width = look
    browser.resize(width, 844)
    browser.enter(anna, language)
    browser.run("localStorage.setItem('adminTheme', arguments[0])", f'"{theme}"')
    turn = Turn.objects.get()
    lists = (f"{ADMIN}/messagebuffer/", f"{ADMIN}/turn/")
    for path in (*lists, f"{ADMIN}/turn/{turn.pk}/change/", f"{ADMIN}/conversation/{talk.pk}/change/"):
        browser.open(path)
        browser.until(lambda: browser.run("return document.readyState") == "complete", "the page")
        browser.run("document.querySelectorAll('details').forEach(one => one.open = true)")
        assert browser.run("return window.hit") is None
        assert not browser.overflows(), path


def test_staff_take_over_and_a_double_click_answers_once(browser: Browser, anna: User, talk: Conversation) -> None:
    browser.enter(anna)
    browser.open(f"{ADMIN}/conversation/{talk.pk}/change/")
    browser.find(".desk button").click()
    browser.until(lambda: browser.all("#reply"), "the reply box")
    assert not browser.all(".open-burst"), "what waited is left to staff"
    browser.find("#reply").send_keys("Здравствуйте, это Анна.")
    browser.run("const b = document.querySelector('[data-once] button'); b.click(); b.click()")
    browser.until(lambda: "Message #1" in browser.find("form.reply .note").text, "the answer")
    said = [entry.content for entry in log.history(talk.pk) if entry.author == "anna"]
    assert said == ["Здравствуйте, это Анна."]


def test_a_burst_is_discarded_only_after_a_second_thought(browser: Browser, anna: User, talk: Conversation) -> None:
    browser.enter(anna)
    browser.open(f"{ADMIN}/conversation/{talk.pk}/change/")
    browser.find(".open-burst .quiet").click()
    browser.until(lambda: browser.all("input[name=confirmed]"), "the question")
    assert buffering.has_buffer(talk.pk)
    browser.find(".danger").click()
    browser.until(lambda: browser.all("#changelist"), "the list")
    assert not buffering.has_buffer(talk.pk)
