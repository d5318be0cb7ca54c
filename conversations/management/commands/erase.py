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
        whose.add_argument("--user", type=int, help="every conversation of this user id")
        parser.add_argument("--reason", required=True, help="why; it stays in the audit log")
        parser.add_argument("--yes", action="store_true", help="do not ask")

    def handle(self, *, conversation: UUID | None, user: int | None, reason: str, yes: bool, **options: Any) -> None:
        chosen = [conversation] if conversation else erasure.of_user(user or 0)
        if not chosen:
            raise CommandError(f"User {user} has no conversations.")
        if not yes and input(f"Erase {len(chosen)} conversation(s) for good? Type yes: ") != "yes":
            raise CommandError("Nothing was erased.")
        for one in chosen:  # each in its own transaction: an interrupted run is simply run again
            try:
                gone = erasure.erase(one, by=f"cli:{getpass.getuser()}", reason=reason)
            except (ConversationNotFoundError, erasure.NoReasonError) as error:
                raise CommandError(str(error)) from error
            self.stdout.write(f"{one}  {gone.messages} messages, {gone.turns} turns  sha256 {gone.content_hash}")
