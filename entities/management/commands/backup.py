"""`manage.py backup`: one backup, now."""

from typing import Any

import psycopg
from django.core.management.base import BaseCommand, CommandError, CommandParser

from entities import backup
from entities.postgres import ToolError


class Command(BaseCommand):
    help = "Back the database up into BACKUP_DIR: a dump, and what was in it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--reason", default="by-hand", help="a word for the name (default: %(default)s)")
        parser.add_argument("--by", default="command", help="who, for the record")

    def handle(self, *, reason: str, by: str, verbosity: int, **_options: Any) -> None:
        if not reason.replace("-", "").isalnum() or not reason.isascii() or len(reason) > 40:
            raise CommandError("--reason is letters, digits and dashes, at most 40.")
        try:
            taken = backup.take(by=by, reason=reason, say=self._say if verbosity else None)
        except (ToolError, OSError, psycopg.Error) as error:
            raise CommandError(f"No backup was taken: {error}") from error
        told = f"{taken.name}: {taken.bytes:,} bytes, {len(taken.measures)} tables, {taken.rows:,} rows"
        self.stdout.write(self.style.SUCCESS(told))

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
