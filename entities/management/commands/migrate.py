"""`manage.py migrate`: Django's, and safe for what is in the database."""

import argparse
from contextlib import nullcontext
from typing import Any
from unittest import mock

from django.core.management.base import CommandError, CommandParser
from django.core.management.commands import migrate as django_migrate
from django.db import DEFAULT_DB_ALIAS, ProgrammingError

from entities.safety.applying import Wanted, executor_for, nobody_else


class Command(django_migrate.Command):
    help = (
        "Bring the database's schema up to date. Where it holds data, an unsafe plan is refused before its first "
        "statement, a backup is taken, and the plan is rehearsed on a copy."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--no-rehearsal", action="store_true", help="apply without a rehearsal; it is on record")
        parser.add_argument("--no-backup", action="store_true", help="nor take a backup, nor rehearse; on record")
        parser.add_argument("--force", action="store_true", help="let production do without either")
        parser.add_argument("--prepared", default="", help=argparse.SUPPRESS)  # the mechanic's backup
        parser.add_argument("--by", default="migrate", help="who, for the record")
        parser.add_argument("--rehearsing", action="store_true", help=argparse.SUPPRESS)

    def handle(self, *args: Any, **options: Any) -> None:
        """Django's own steps, around an executor of ours: its command offers no other place to step in."""
        if options["database"] != DEFAULT_DB_ALIAS:
            raise CommandError("There is one database.")
        target = [options[name] for name in ("app_label", "migration_name") if options.get(name)]
        wanted = Wanted(
            arguments=target,
            rehearse=not options.pop("no_rehearsal") and not options["no_backup"],
            keep=not options.pop("no_backup"),
            force=options.pop("force"),
            prepared=options.pop("prepared"),
            by=options.pop("by"),
            rehearsing=options.pop("rehearsing"),
            say=self._say if options["verbosity"] else lambda _line: None,
        )
        looks_only = options.get("check_unapplied") or options.get("plan")
        alone = nullcontext() if wanted.rehearsing or looks_only else nobody_else()
        with alone, mock.patch.object(django_migrate, "MigrationExecutor", executor_for(wanted)):
            try:
                super().handle(*args, **options)
            except ProgrammingError as error:
                raise CommandError(_in_words(error)) from error

    def _say(self, line: str) -> None:
        self.stdout.write(f"  {line}")
        self.stdout.flush()


def _in_words(error: ProgrammingError) -> str:
    """What an operator can do about a refusal of the server."""
    reason = str(error).strip().splitlines()[0]
    if "permission denied to create extension" in reason:
        return f"{reason}. Let a superuser run, once, in this database: CREATE EXTENSION vector"
    if 'type "vector" does not exist' in reason:
        return f"{reason}: pgvector is in a schema that is not on the search_path. `manage.py doctor` names it."
    if "permission denied for schema" in reason:
        return f"{reason}. Let its owner run: GRANT CREATE ON SCHEMA ... TO the role of DATABASE_URL"
    return reason
