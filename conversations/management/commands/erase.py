"""`manage.py erase`: remove what a person said, for good, and keep a record that it was done."""

import getpass
from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from conversations import erasure
from conversations.log import ConversationNotFoundError


class Command(BaseCommand):
    help = "Erases a conversation, or all of a user's; the audit log keeps who, why, how much and a hash."

    def add_arguments(self, parser: ArgumentParser) -> None:
        whose = parser.add_mutually_exclusive_group(required=True)
        whose.add_argument("conversation", nargs="?", type=UUID, help="the conversation's id")
        whose.add_argument("--user", type=int, help="every conversation of this user id, and all else that is theirs")
        parser.add_argument("--reason", required=True, help="why; it stays in the audit log")
        parser.add_argument("--yes", action="store_true", help="do not ask")

    def handle(self, *, conversation: UUID | None, user: int | None, reason: str, yes: bool, **options: Any) -> None:
        chosen = [conversation] if conversation else erasure.of_user(user or 0)
        what = f"{len(chosen)} conversation(s)" + (f" and all that user {user} owns" if user is not None else "")
        if not yes and input(f"Erase {what} for good? Type yes: ") != "yes":
            raise CommandError("Nothing was erased.")
        by = f"cli:{getpass.getuser()}"
        for one in chosen:  # each in its own transaction: an interrupted run is simply run again
            try:
                gone = erasure.erase(one, by=by, reason=reason)
            except (ConversationNotFoundError, erasure.NoReasonError) as error:
                raise CommandError(str(error)) from error
            self.stdout.write(f"{one}  {gone.messages} messages, {gone.turns} turns  sha256 {gone.content_hash}")
        if user is not None:
            self._erase_person(user, by=by, reason=reason, erased=bool(chosen))

    def _erase_person(self, user: int, *, by: str, reason: str, erased: bool) -> None:
        try:
            gone = erasure.forget_person(user, by=by, reason=reason)
        except erasure.NoReasonError as error:
            raise CommandError(str(error)) from error
        if not erased and not any(gone.values()):
            raise CommandError(f"Nothing is kept of user {user}.")
        self.stdout.write("".join(f"{name}: {rows} rows\n" for name, rows in gone.items() if rows).rstrip())
