"""`manage.py backups`: what is there, and whether it is whole."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from entities import backup
from entities.backup import BackupError


class Command(BaseCommand):
    help = "List the backups in BACKUP_DIR. Exit code 1 where one is damaged (--verify reads every byte)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--verify", action="store_true", help="compare every dump with its checksum")
        parser.add_argument("--retire", action="store_true", help="remove what the policy keeps no longer")

    def handle(self, *, verify: bool, retire: bool, **_options: Any) -> None:
        if retire:
            for name in backup.retire(by="command"):
                self.stdout.write(f"removed {name}")
        found, damaged = backup.kept(), 0
        for one in found:
            state = "" if one.is_ours else "from elsewhere"
            if verify:
                try:
                    backup.dump_of(one)
                    state = f"{state}, whole" if state else "whole"
                except BackupError as error:
                    damaged += 1
                    state = self.style.ERROR(str(error))
            self.stdout.write(f"{one.name:45} {one.bytes:>15,} bytes {one.rows:>12,} rows  {state}".rstrip())
        self.stdout.write(f"{len(found)} in {backup.folder()}")
        raise SystemExit(1 if damaged else 0)
