"""manage.py up: everything a person needs on one machine."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from config.database import EmbeddedServerError
from config.running import CannotRunError, everything


class Command(BaseCommand):
    help = "Run Parley on this machine: database, migrations, demo data, web and worker, until Ctrl-C."
    requires_system_checks: list[str] = []

    def handle(self, **_options: Any) -> None:
        def say(line: str) -> None:
            self.stdout.write(self.style.SUCCESS(line))
            self.stdout.flush()

        try:
            code = everything(settings.PORT, say)
        except (CannotRunError, EmbeddedServerError) as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            code = 0
        self.stdout.write("Stopped. Your data is in " + str(settings.DATA_DIR))
        raise SystemExit(code)
