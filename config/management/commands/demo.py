"""manage.py demo: something to look at."""

from importlib.util import find_spec
from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand
from django.utils.module_loading import import_string


class Command(BaseCommand):
    help = "Load the demo data of every app that has a `demo` module; a second run changes nothing."

    def handle(self, *, verbosity: int, **_options: Any) -> None:
        for app in apps.get_app_configs():
            if find_spec(f"{app.name}.demo") is None:
                continue
            loaded = import_string(f"{app.name}.demo.load")()
            if verbosity:
                self.stdout.write(f"{app.verbose_name}: {loaded}")
