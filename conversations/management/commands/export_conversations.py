"""`manage.py export_conversations`: conversations as JSON lines, which an import reads back, or as CSV."""

import getpass
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from conversations.legacy import export
from conversations.models import Conversation


class Command(BaseCommand):
    help = "Writes conversations with all their messages, deleted ones included, as JSON lines or CSV; streams."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", help="where to; - is the standard output")
        parser.add_argument("--format", choices=export.FORMATS, help="else as the file is called; JSON lines")
        parser.add_argument("--user", type=int, help="only this user's conversations")
        parser.add_argument("--channel", help="only those of a channel")
        parser.add_argument("--conversation", type=UUID, nargs="+", default=[], metavar="ID", help="only these")

    def handle(self, **given: Any) -> None:
        chosen = Conversation.objects.all()
        if given["user"] is not None:
            chosen = chosen.filter(user_id=given["user"])
        if given["channel"]:
            chosen = chosen.filter(channel=given["channel"])
        if given["conversation"]:
            chosen = chosen.filter(pk__in=given["conversation"])
        file_format = given["format"] or ("csv" if given["file"].endswith(".csv") else "jsonl")
        lines = export.lines(chosen, file_format, by=f"cli:{getpass.getuser()}")
        if given["file"] == "-":
            for line in lines:
                sys.stdout.write(line)
            return
        try:
            with Path(given["file"]).open("x", encoding="utf-8", newline="") as file:
                file.writelines(lines)
        except OSError as error:
            raise CommandError(f"{error.strerror}: {given['file']}") from error
        self.stdout.write(self.style.SUCCESS(f"Written to {given['file']}."))
