"""A real browser on a real server: Debian's Chromium, driven by selenium, with its console read."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.test import Client
from pytest_django.live_server_helper import LiveServer
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from tests.patience import PATIENCE

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync "
    "--hide-scrollbars --force-color-profile=srgb"
)


class Browser:
    """Chromium with the few gestures the tests need."""

    def __init__(self, driver: webdriver.Chrome, server: LiveServer) -> None:
        self.driver, self.base = driver, server.url
        self.complaints: list[str] = []

    def open(self, path: str) -> None:
        self.driver.get(path if ":" in path else f"{self.base}{path}")
        self.listen()

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)  # type: ignore[no-untyped-call]

    def until(self, condition: Callable[[], Any], says: str) -> Any:
        gone = [StaleElementReferenceException]  # the page changed between finding and reading: look again
        waiting: WebDriverWait[webdriver.Chrome] = WebDriverWait(self.driver, PATIENCE, 0.05, gone)
        found = waiting.until(lambda _driver: condition(), says)
        self.listen()
        return found

    def listen(self) -> None:
        """Keep what the console says; every read of the log empties it."""
        entries = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        self.complaints += [entry["message"] for entry in entries if entry["level"] == "SEVERE"]

    def enter(self, user: User, language: str = "en") -> None:
        """Log in by cookie: the login page has a test of its own."""
        client = Client()
        client.force_login(user)
        self.open("/healthz")
        self.driver.delete_all_cookies()
        for name, value in (("sessionid", client.cookies["sessionid"].value), ("django_language", language)):
            self.driver.add_cookie({"name": name, "value": value, "path": "/"})

    def resize(self, width: int, height: int) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def overflows(self) -> bool:
        """Does the page scroll sideways?"""
        return bool(self.run("return document.documentElement.scrollWidth > window.innerWidth + 1"))


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not program or not driver:
        pytest.skip("no Chromium with its driver on this machine (Debian: apt install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    profile: Path = tmp_path_factory.mktemp("chromium")
    for flag in (*FLAGS.split(), f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"intl.accept_languages": "en-US"})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = webdriver.Chrome(options=options, service=Service(driver))
    yield chrome
    chrome.quit()


@pytest.fixture(autouse=True, scope="session")
def no_lasting_connections() -> None:
    """The live server's threads outlive their requests; connections they keep would stop the database's removal."""
    connections.settings["default"]["CONN_MAX_AGE"] = 0


@pytest.fixture
def browser(chromium: webdriver.Chrome, live_server: LiveServer) -> Iterator[Browser]:
    """A fresh visit; whatever the console complained about fails the test."""
    visit = Browser(chromium, live_server)
    visit.resize(1280, 800)
    visit.open("/healthz")
    chromium.delete_all_cookies()
    visit.run("localStorage.clear()")
    visit.complaints.clear()
    yield visit
    visit.listen()
    chromium.get("about:blank")  # a page that follows a conversation would ask for it again when it is gone
    chromium.get_log("browser")  # type: ignore[no-untyped-call]
    assert visit.complaints == []


@pytest.fixture
def anna(transactional_db: None) -> User:
    return User.objects.create_superuser("anna", "anna@example.org", "right horse")
