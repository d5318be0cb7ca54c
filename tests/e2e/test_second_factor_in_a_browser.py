"""The second factor on a phone, dark and in Russian: set up, asked for at the next login, lost and recovered."""

from __future__ import annotations

from base64 import b32decode
from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import User
from selenium.webdriver.common.keys import Keys

from config.second_factor import permits
from tests.second_factors import code_of, forget_the_last_code

if TYPE_CHECKING:
    from tests.e2e.conftest import Browser


def look(browser: Browser, name: str) -> None:
    browser.until(lambda: browser.run("return document.readyState") == "complete", "the page")
    assert not browser.overflows(), name


def log_in(browser: Browser) -> None:
    browser.open("/admin/")
    browser.find("[name=username]").send_keys("anna")
    browser.find("[name=password]").send_keys("right horse", Keys.ENTER)


def enter(browser: Browser, code: str, form: str = "#code-form") -> None:
    field = browser.find(f"{form} [name=code]")
    field.clear()
    field.send_keys(code, Keys.ENTER)


def prove(browser: Browser, permit: str) -> None:
    browser.find("#code-form input[name=proof]").send_keys(permit)


@pytest.mark.usefixtures("anna")
def test_set_up_asked_for_and_recovered(browser: Browser, settings) -> None:
    settings.STAFF_SECOND_FACTOR = "required"
    browser.open("/admin/login/")
    browser.run("localStorage.setItem('adminTheme', arguments[0])", '"dark"')
    browser.driver.add_cookie({"name": "django_language", "value": "ru", "path": "/"})
    browser.resize(390, 844)
    log_in(browser)
    browser.until(lambda: browser.all("#secret"), "the page that sets it up")
    look(browser, "enrol")
    key = b32decode(browser.find("#secret").text.replace(" ", "")).hex()
    permit = permits.issue(User.objects.get(username="anna"), by="test")
    prove(browser, permit)
    enter(browser, "000000")
    browser.until(lambda: browser.all("#code-form .errors"), "the refusal")
    look(browser, "refused")
    prove(browser, permit)
    enter(browser, code_of(key))
    browser.until(lambda: browser.all("#recovery-codes li"), "the recovery codes")
    look(browser, "codes")
    spare = [item.text for item in browser.all("#recovery-codes code")]
    assert len(spare) == 10
    browser.run("document.querySelector('#logout-form').submit()")
    forget_the_last_code()
    browser.until(lambda: "/logout/" in browser.driver.current_url, "the goodbye")
    log_in(browser)
    browser.until(lambda: browser.all("#code-form"), "the page that asks")
    look(browser, "code")
    enter(browser, "12 34 56")
    browser.until(lambda: browser.all("#code-form .errors"), "the refusal")
    look(browser, "wrong")
    browser.find(".second-factor-ways a").click()
    browser.until(lambda: "recovery" in browser.driver.current_url, "the other way")
    look(browser, "recovery")
    enter(browser, spare[0])
    browser.until(lambda: browser.all("#checks"), "the start page")
    look(browser, "start")
    browser.open("/admin/second-factor/")
    look(browser, "own")
    enter(browser, spare[1], "#renew-form")
    browser.until(lambda: browser.all("#recovery-codes li"), "new recovery codes")
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    look(browser, "print")
    assert not browser.find(".second-factor-buttons").is_displayed()
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
