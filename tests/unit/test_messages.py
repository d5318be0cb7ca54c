"""Everything the interface says is said in Russian, too, and what is committed is what runs."""

from typing import Any

import pytest
from babel.messages.mofile import read_mo
from django.utils.translation import gettext, ngettext, override

from config import translations
from config.management.commands import messages
from config.translations import Text


def test_the_catalogue_is_complete_and_up_to_date() -> None:
    catalogue = messages.merged(messages.read(messages.CATALOGUE))
    assert messages.untranslated(catalogue) == []
    assert messages.CATALOGUE.read_bytes() == messages.rendered(catalogue)[0], "run `make messages`"


def test_the_compiled_catalogue_says_what_the_source_says() -> None:
    source = {(_plain(m.context), _plain(m.id)): _plain(m.string) for m in messages.read(messages.CATALOGUE) if m.id}
    with messages.CATALOGUE.with_suffix(".mo").open("rb") as file:
        compiled = {(_plain(m.context), _plain(m.id)): _plain(m.string) for m in read_mo(file) if m.id}
    assert compiled == source
    assert len(source) > 150


def test_placeholders_survive_translation() -> None:
    broken = [
        message.id
        for message in messages.read(messages.CATALOGUE)
        for form in (message.string if isinstance(message.string, tuple) else (message.string,))
        if message.id and set(messages.placeholders(form)) != set(messages.placeholders(message.id))
    ]
    assert broken == []


@pytest.mark.parametrize("path", ["seen.py", "seen.html"])
def test_every_way_to_mark_a_string_is_found(tmp_path, path: str) -> None:
    (tmp_path / "seen.py").write_text(
        'a = _("plain"), gettext_lazy("lazy ) bracket")\nc = ngettext("one", "many", 3)\nd = pgettext("menu", "open")\n'
        'e = _(f"not {a} this")\nf = _(variable)\n'
    )
    (tmp_path / "seen.html").write_text(
        '{% load i18n %}{% translate "plain" %}{% trans "lazy ) bracket" as x %}{{ _("never") }}'
        "{% blocktranslate count n=n %}one{% plural %}many{% endblocktranslate %}"
        '{% translate "open" context "menu" %}{% include "a.html" with title=_("argument") %}'
    )
    folder = tmp_path / "only"
    folder.mkdir()
    (tmp_path / path).rename(folder / path)
    found = set(translations._collect(tmp_path, [folder]))
    assert {Text("plain"), Text("lazy ) bracket"), Text("one", "many"), Text("open", context="menu")} <= found
    if path.endswith("html"):
        assert {Text("never"), Text("argument")} <= found
    else:
        assert len(found) == 4


def test_the_theme_speaks_russian() -> None:
    theme = translations.theme()
    assert Text("Type to search") in theme
    with override("ru"):
        assert gettext("Type to search") == "Начните вводить запрос"
        assert [ngettext("%(n)s year", "%(n)s years", n) for n in (1,)] == ["%(n)s year"]  # nobody's string stays
        assert gettext("Log in") == "Войти"  # Django's own catalogue is still there


def test_a_string_without_russian_fails_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    real = translations.ours()
    monkeypatch.setattr(translations, "ours", lambda: {**real, Text("Nobody translated me"): {"config/x.py"}})
    catalogue = messages.merged(messages.read(messages.CATALOGUE))
    assert messages.untranslated(catalogue) == ["Nobody translated me"]


def test_a_second_run_changes_nothing() -> None:
    once = messages.rendered(messages.merged(messages.read(messages.CATALOGUE)))
    assert once == messages.rendered(messages.merged(messages.read(messages.CATALOGUE)))


def _plain(text: Any) -> Any:
    """Babel's reader of .mo hands out lists and bytes where its reader of .po has tuples and text."""
    if isinstance(text, bytes):
        return text.decode()
    return tuple(text) if isinstance(text, list) else text
