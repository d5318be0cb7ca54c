"""`manage.py guard`: the database's own refusal to drop, put in place."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import connection

from entities.safety import guard, kept


class Command(BaseCommand):
    help = "Let the database itself refuse to drop, rename or narrow what is ours. Exit code 1 where this role may not."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--sql", action="store_true", help="print what a superuser has to run, and change nothing")

    def handle(self, *, sql: bool, **_options: Any) -> None:
        with connection.cursor() as cursor:
            if sql:
                self.stdout.write(guard.functions(cursor) + guard.EVENTS + kept.EVENTS)
                return
            placed = guard.install(cursor)
        kept.keep_what_stands()
        self.stdout.write(guard.guard().detail)
        raise SystemExit(0 if placed else 1)
