"""The page of an import as staff see it: it fits, in both languages, and nothing that was read acts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import User

from conversations.models import Conversation, ImportBatch
from tests.e2e.test_transcript_in_a_browser import EVIL
from tests.old_world import bring, file

if TYPE_CHECKING:
    from tests.e2e.conftest import Browser

ADMIN = "/admin/conversations"


@pytest.fixture
def batch(transactional_db: None, tmp_path: Path) -> ImportBatch:
    good = [{"role": "user", "content": text} for text in EVIL]
    bad = [{"role": text, "content": text} for text in EVIL]
    return bring(file(tmp_path, [{"id": EVIL[1], "title": EVIL[1], "messages": good + bad}]))


@pytest.mark.parametrize("look", [("en", "light", 1280), ("ru", "dark", 390)])
def test_imports_are_clean_inert_and_fit(
    browser: Browser, anna: User, batch: ImportBatch, look: tuple[str, str, int], tmp_path: Path
) -> None:
    language, theme, width = look
    browser.resize(width, 844)
    browser.enter(anna, language)
    browser.run("localStorage.setItem('adminTheme', arguments[0])", f'"{theme}"')
    talk = Conversation.objects.get()
    pages = [f"importbatch/{batch.pk}/change/", "importbatch/", "importreject/", f"conversation/{talk.pk}/change/"]
    for number, page in enumerate(pages):
        browser.open(f"{ADMIN}/{page}")
        assert not browser.run("return window.hit !== undefined")
        assert not browser.overflows(), page
        browser.driver.save_screenshot(str(tmp_path / f"{number}-{language}.png"))
