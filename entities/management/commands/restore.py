"""`manage.py restore`: a backup becomes a new database; nothing is overwritten."""

from datetime import UTC, datetime
from typing import Any

import psycopg
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from entities import backup, restoring
from entities.backup import BackupError
from entities.postgres import ToolError
from entities.restoring import RestoreError


class Command(BaseCommand):
    help = "Restore a backup into a new database and verify it. --switch-to lets a restored database take ours' name."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", nargs="?", default="latest", help="as `manage.py backups` lists it")
        parser.add_argument("--into", default="", help="name of the new database")
        parser.add_argument("--switch", action="store_true", help="embedded PostgreSQL: use it at once")
        parser.add_argument("--switch-to", default="", metavar="DATABASE", help="use a database restored earlier")
        parser.add_argument(
            "--from-elsewhere", action="store_true", help="restore what another installation made: it may run anything"
        )
        parser.add_argument("--by", default="command", help="who, for the record")

    def handle(self, *, name: str, into: str, switch: bool, switch_to: str, **options: Any) -> None:
        embedded = settings.EMBEDDED_DATABASE is not None
        if (switch or switch_to) and not embedded:
            raise CommandError("On a server of your own you switch by DATABASE_URL; see docs/backups.md.")
        into = switch_to or into or f"parley_restored_{datetime.now(UTC):%Y%m%d_%H%M%S}"
        if len(into.encode()) > restoring.LONGEST_NAME:
            raise CommandError(f"--into is longer than {restoring.LONGEST_NAME} bytes.")
        try:
            sound = bool(switch_to) or self._restore(name, into, options["by"], foreign=options["from_elsewhere"])
            if switch_to or (switch and sound):
                kept = restoring.switch(into)
                self.stdout.write(self.style.SUCCESS(f"In use now. The database before is kept as {kept}."))
                return
        except (BackupError, RestoreError, ToolError, OSError, psycopg.Error) as error:
            raise CommandError(str(error).strip()) from error
        for line in restoring.how_to_switch(into, embedded=embedded):
            self.stdout.write(line)

    def _restore(self, name: str, into: str, by: str, *, foreign: bool) -> bool:
        """Was everything well with it?"""
        found = backup.manifest(name)
        self.stdout.write(f"Restoring {found.name} into {into} ...")
        restored = restoring.restore(found, into, by=by, say=self._say, foreign=foreign)
        for line in restored.checks:
            self.stdout.write(f"  {line}")
        for line in restored.doubts:
            self.stdout.write(self.style.WARNING(f"  {line}"))
        if not restored.doubts:
            self.stdout.write(self.style.SUCCESS(f"Restored and verified: {restored.database}"))
            return True
        told = f"Restored as it was backed up, and that was not sound (above): {restored.database}"
        self.stdout.write(self.style.WARNING(told))
        return False

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
