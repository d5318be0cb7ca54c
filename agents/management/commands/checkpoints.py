"""`manage.py checkpoints`: how much the agents' runtime keeps, and letting go of it."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.template.defaultfilters import filesizeformat


class Command(BaseCommand):
    help = "Lists the largest checkpoint threads; with --prune deletes old ones and compacts the others."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--prune", action="store_true", help="delete old threads, keep the latest state of others")
        parser.add_argument("--older-than", type=float, metavar="DAYS", help="default: CHECKPOINTS_KEEP_DAYS")
        parser.add_argument("--dry-run", action="store_true", help="only tell what --prune would do")
        parser.add_argument("--repair", metavar="TURN", help="answer the tool calls of a turn that never got a result")
        parser.add_argument("--limit", type=int, default=20, help="how many threads to list")

    def handle(self, **options: Any) -> None:
        from agents import checkpoints, repair

        try:
            if options["repair"]:
                self._repair(repair.repair(options["repair"], dry_run=options["dry_run"]), options["dry_run"])
            elif options["prune"]:
                self._prune(checkpoints, options["older_than"], options["dry_run"])
            else:
                self._list(checkpoints, options["limit"])
        finally:
            checkpoints.close()

    def _prune(self, checkpoints: Any, days: float | None, dry_run: bool) -> None:
        days = checkpoints.kept_days() if days is None else days
        if days < 0:
            raise CommandError("--older-than is a number of days, 0 or more.")
        before = checkpoints.total_size()
        pruned = checkpoints.prune(older_than_days=days, dry_run=dry_run)
        would = "would be " if dry_run else ""
        self.stdout.write(f"{pruned.deleted} threads {would}deleted, {pruned.compacted} {would}compacted.")
        if not dry_run:
            self.stdout.write(
                f"The state of every kept thread is what it was. On disk: {filesizeformat(before)} before;"
            )
            self.stdout.write("the space is reused, and given back by VACUUM.")

    def _list(self, checkpoints: Any, limit: int) -> None:
        self.stdout.write(
            f"{filesizeformat(checkpoints.total_size())} on disk. The largest threads (a thread is a turn):"
        )
        for thread in checkpoints.threads(limit):
            self.stdout.write(
                f"{thread.id}  {filesizeformat(thread.size):>12}  {thread.checkpoints:>4} checkpoints"
                f"  {thread.last_at:%Y-%m-%d %H:%M}"
            )

    def _repair(self, calls: list[str], dry_run: bool) -> None:
        if not calls:
            self.stdout.write("Nothing to repair: every tool call has its result.")
        for call in calls:
            self.stdout.write(f"{call}: {'would be' if dry_run else 'was'} answered as interrupted.")
