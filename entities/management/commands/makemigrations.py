"""`manage.py makemigrations`: Django's, and no unsafe migration is written."""

from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands import makemigrations as django_makemigrations
from django.db.migrations import Migration
from django.db.migrations.loader import MigrationLoader

from entities.safety import judge, told


class Command(django_makemigrations.Command):
    help = "Make migrations for changed models. One that would hurt a database in use is refused, and not written."

    def write_migration_files(
        self, changes: dict[str, list[Migration]], update_previous_migration_paths: Any = None
    ) -> None:
        """Judge what is about to be written, on top of all that is there."""
        state = MigrationLoader(None).project_state()
        made = [migration for migrations in changes.values() for migration in migrations]
        if problems := judge(made, state):
            raise CommandError(told(problems))
        super().write_migration_files(changes, update_previous_migration_paths)
