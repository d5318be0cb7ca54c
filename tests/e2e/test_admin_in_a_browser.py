"""The admin as a person sees it: by mouse and keyboard, in both languages and themes, on a desk and on a phone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import User
from selenium.webdriver import ActionChains
from selenium.webdriver.common.keys import Keys

if TYPE_CHECKING:
    from tests.e2e.conftest import Browser

PAGES = ["/admin/", "/admin/auth/user/", "/admin/auth/user/add/", "/admin/auth/user/{anna}/change/"]


def test_a_person_logs_in_and_out(browser: Browser, anna: User) -> None:
    browser.open("/admin/")
    browser.find("[name=username]").send_keys("anna")
    browser.find("[name=password]").send_keys("wrong horse", Keys.ENTER)
    browser.until(lambda: "correct username and password" in browser.find("body").text, "the error")
    browser.find("[name=username]").clear()
    browser.find("[name=username]").send_keys("anna")
    browser.find("[name=password]").send_keys("right horse", Keys.ENTER)
    browser.until(lambda: browser.all("#checks"), "the start page")
    browser.run("document.querySelector('#logout-form').submit()")
    browser.until(lambda: "logged out" in browser.find("body").text.lower(), "the goodbye")


def test_the_language_is_switched_on_the_login_page_and_stays(browser: Browser, anna: User) -> None:
    browser.open("/admin/")
    assert "Welcome back to" in browser.find("body").text
    browser.find("button[name=language][value=ru]").click()
    browser.until(lambda: "С возвращением в" in browser.find("body").text, "Russian")
    browser.find("[name=username]").send_keys("anna")
    browser.find("[name=password]").send_keys("right horse", Keys.ENTER)
    browser.until(lambda: browser.all("#checks"), "the start page")
    assert "Всё ли в порядке?" in browser.find("#checks").text
    assert browser.find("html").get_attribute("lang") == "ru"


def test_the_language_is_switched_in_the_menu(browser: Browser, anna: User) -> None:
    browser.enter(anna)
    browser.open("/admin/auth/user/")
    button = browser.find("form[action='/i18n/setlang/'] input[value=ru]")
    browser.run("arguments[0].form.querySelector('button').click()", button)
    browser.until(lambda: browser.find("html").get_attribute("lang") == "ru", "Russian")
    assert "Пользователи" in (browser.find("#nav-sidebar-apps").get_attribute("textContent") or "")
    assert "/admin/auth/user/" in browser.driver.current_url


@pytest.mark.parametrize("language", ["en", "ru"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_page_makes_the_console_complain(browser: Browser, anna: User, language: str, theme: str) -> None:
    browser.open("/admin/login/")
    browser.run("localStorage.setItem('adminTheme', arguments[0])", f'"{theme}"')
    browser.open("/admin/login/")
    browser.enter(anna, language)
    for page in PAGES:
        browser.open(page.format(anna=anna.pk))
        browser.until(
            lambda: ("dark" in (browser.find("html").get_attribute("class") or "")) == (theme == "dark"), "the theme"
        )
        assert not browser.overflows(), page
    assert browser.complaints == []


def test_the_palette_opens_by_keyboard_and_leads_to_a_record(browser: Browser, anna: User) -> None:
    browser.enter(anna, "ru")
    browser.open("/admin/")
    browser.until(lambda: browser.run("return window.Alpine !== undefined"), "the scripts")
    ActionChains(browser.driver).key_down(Keys.CONTROL).send_keys("k").key_up(Keys.CONTROL).perform()
    field = browser.find("#search-input-command")
    browser.until(field.is_displayed, "the palette")
    field.send_keys("ann")
    browser.until(lambda: browser.all("#command-results-list a"), "a result")
    assert "anna" in browser.find("#command-results-list").text
    found = [link.text for link in browser.all("#command-results-list a")]
    place = next(number for number, text in enumerate(found, 1) if "anna" in text)
    field.send_keys(*[Keys.ARROW_DOWN] * place, Keys.ENTER)
    browser.until(lambda: f"/user/{anna.pk}/change/" in browser.driver.current_url, "the record")


@pytest.mark.parametrize("path", ["/admin/login/", *PAGES])
def test_a_phone_scrolls_down_and_not_sideways(browser: Browser, anna: User, path: str) -> None:
    browser.resize(390, 844)
    if "login" not in path:
        browser.enter(anna, "ru")
    browser.open(path.format(anna=anna.pk))
    browser.until(lambda: browser.run("return document.readyState") == "complete", "the page")
    assert not browser.overflows()


def test_the_policy_is_in_force(browser: Browser, anna: User) -> None:
    browser.enter(anna)
    browser.open("/admin/")
    browser.run(
        "const script = document.createElement('script');"
        "script.textContent = 'window.injected = true'; document.body.append(script);"
    )
    assert browser.run("return window.injected") is None
    browser.listen()
    assert any("Content Security Policy" in complaint for complaint in browser.complaints)
    browser.complaints.clear()  # this one was called for


def test_an_error_page_is_clean_under_its_own_policy(browser: Browser) -> None:
    browser.open("/nowhere")
    assert "There is nothing here" in browser.find("h1").text
    assert browser.run("return getComputedStyle(document.querySelector('main')).maxWidth") != "none"
    assert all("404" in complaint for complaint in browser.complaints)
    browser.complaints.clear()
