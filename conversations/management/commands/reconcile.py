"""manage.py reconcile: did we miss anything?"""

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from conversations import reconcile
from conversations.models import Fate

SHOWN = 20


class Command(BaseCommand):
    help = "Prove that every message a person sent waits or has exactly one fate; exit code 1 where one does not."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--days", type=int, help="only the messages of so many days")
        parser.add_argument("--repair", action="store_true", help="give each hole the fate its rows show, or answer it")

    def handle(self, *, days: int | None, repair: bool, **_options: Any) -> None:
        since = timedelta(days=days) if days is not None else None
        if repair:
            for hole in reconcile.holes(since):
                self.stdout.write(f"{_named(hole)}: {reconcile.repair(hole)}")
        account = reconcile.account(since)
        for fate in (*Fate.values, "waiting"):
            self.stdout.write(f"{fate:<10}{account.by_fate.get(fate, 0):>12,}")
        self.stdout.write(f"{'total':<10}{sum(account.by_fate.values()):>12,}")
        if account.contradictions:
            self.stdout.write(self.style.ERROR(f"{account.contradictions} messages have a fate and still wait."))
        if account.holes:
            self._show_holes(since, account.holes)
        gaps = reconcile.gaps(patient=True)
        for conversation, lacking in gaps:
            self.stdout.write(self.style.ERROR(f"conversation {conversation} lacks {lacking} messages in the middle"))
        if account.holes or account.contradictions or gaps:
            raise SystemExit(1)
        self.stdout.write(self.style.SUCCESS("Every message has exactly one fate, or waits."))

    def _show_holes(self, since: timedelta | None, number: int) -> None:
        self.stdout.write(self.style.ERROR(f"{number} messages have no fate and do not wait:"))
        for hole in reconcile.holes(since)[:SHOWN]:
            self.stdout.write(f"  {_named(hole)}")
        if number > SHOWN:
            self.stdout.write(f"  and {number - SHOWN} more")
        self.stdout.write("`manage.py reconcile --repair` gives each the fate its rows show, or lets it be answered.")


def _named(hole: reconcile.Hole) -> str:
    turn = f", last in a turn that is {hole.turn_status}" if hole.turn_status else ""
    return f"conversation {hole.conversation_id} message {hole.message_index} of {hole.created_at:%Y-%m-%d %H:%M}{turn}"
