"""manage.py demo: something to look at."""

from importlib.util import find_spec
from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandParser
from django.utils.module_loading import import_string


class Command(BaseCommand):
    help = "Load the demo data of every app that has a `demo` module; a second run changes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--anyway", action="store_true", help="even beside conversations of real people")

    def handle(self, *, verbosity: int, anyway: bool, **_options: Any) -> None:
        for app in apps.get_app_configs():
            if find_spec(f"{app.name}.demo") is None:
                continue
            loaded = import_string(f"{app.name}.demo.load")(anyway=anyway)
            if verbosity:
                self.stdout.write(f"{app.verbose_name}: {loaded}")
