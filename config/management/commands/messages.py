"""`make messages`: bring the Russian catalogue up to date with the sources and compile it."""

import re
from io import BytesIO
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from config import translations
from config.translations import Text

LANGUAGE = "ru"
CATALOGUE = Path(settings.LOCALE_PATHS[0]) / LANGUAGE / "LC_MESSAGES" / "django.po"
FROM_THEME = "theme"  # marks strings of the admin's theme
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|%[sd]|{\w*}")
HEADER = "# Russian for Parley and for its admin theme. Add translations here, then run `make messages`."


class Stable(Catalog):
    """A catalogue whose header says nothing of dates and tools, so that an unchanged one is the same bytes."""

    @property
    def mime_headers(self) -> list[tuple[str, str]]:
        return [
            ("Language", LANGUAGE),
            ("MIME-Version", "1.0"),
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Transfer-Encoding", "8bit"),
            ("Plural-Forms", self.plural_forms),
        ]


class Command(BaseCommand):
    help = "Collects translatable strings into the Russian catalogue and compiles it (needs babel: make .venv/dev)."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true", help="change nothing; fail where something is to be done")

    def handle(self, *_args: Any, check: bool, **_options: Any) -> None:
        catalogue = merged(read(CATALOGUE))
        missing = untranslated(catalogue)
        for text in missing:
            self.stdout.write(f"no {LANGUAGE}: {text!r}")
        source, compiled = rendered(catalogue)
        if not check:
            CATALOGUE.parent.mkdir(parents=True, exist_ok=True)
            CATALOGUE.write_bytes(source)
            CATALOGUE.with_suffix(".mo").write_bytes(compiled)
        elif CATALOGUE.read_bytes() != source or CATALOGUE.with_suffix(".mo").read_bytes() != compiled:
            raise CommandError("The catalogue is behind the sources: run `make messages`.")
        if missing:
            raise CommandError(
                f"{len(missing)} strings have no {LANGUAGE}: add them to {CATALOGUE.name} and run again."
            )
        self.stdout.write(f"{len(catalogue)} strings, all with {LANGUAGE}.")


def read(path: Path) -> Catalog:
    if not path.exists():
        return Catalog(locale=LANGUAGE)
    with path.open("rb") as file:
        return read_po(file, locale=LANGUAGE)


def merged(old: Catalog) -> Catalog:
    """Today's strings with yesterday's translations. The theme's all stay: another Python installs another theme."""
    new = Stable(locale=LANGUAGE, header_comment=HEADER, fuzzy=False)
    ours, theme = translations.ours(), translations.theme()
    for text, files in ours.items():
        _add(new, text, old, sorted(files), [])
    kept: dict[Text, set[str]] = {
        _text(message.id, message.context): set() for message in old if FROM_THEME in message.auto_comments
    }
    for text in {**kept, **theme}:
        if text not in ours:
            _add(new, text, old, [], [FROM_THEME])
    return new


def untranslated(catalogue: Catalog) -> list[str]:
    """What has no Russian yet, or in one plural form only."""
    return [
        str(message.id)
        for message in catalogue
        if message.id and not all(message.string if isinstance(message.string, tuple) else [message.string])
    ]


def placeholders(text: Any) -> list[str]:
    """The parts of a string that code fills in."""
    texts = text if isinstance(text, tuple) else (text,)
    return PLACEHOLDER.findall(texts[-1])


def rendered(catalogue: Catalog) -> tuple[bytes, bytes]:
    """The catalogue as .po and .mo, the same bytes on every machine."""
    source, compiled = BytesIO(), BytesIO()
    write_po(source, catalogue, width=120, sort_output=True, include_lineno=False)
    write_mo(compiled, catalogue)
    return source.getvalue(), compiled.getvalue()


def _add(new: Catalog, text: Text, old: Catalog, files: list[str], comments: list[str]) -> None:
    key: Any = (text.singular, text.plural) if text.plural else text.singular
    known = old.get(text.singular, context=text.context or None)
    string: Any = known.string if known else None
    if text.plural and not isinstance(string, tuple):
        string = ("",) * new.num_plurals
    new.add(key, string or "", [(file, 0) for file in files], auto_comments=comments, context=text.context or None)


def _text(key: Any, context: str | None) -> Text:
    singular, plural = key if isinstance(key, tuple) else (key, "")
    return Text(singular, plural, context or "")
