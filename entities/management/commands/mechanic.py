"""`manage.py mechanic`: a change of the tables, from a small document to every running process."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from entities.mechanic import applying, changes, drafting, words
from entities.mechanic.changes import ChangeError
from entities.mechanic.documents import DocumentError
from entities.mechanic.drafting import DraftError
from entities.models import SchemaChange
from entities.models.schema_change import Origin
from entities.postgres import ToolError

VERBS: dict[str, tuple[str, Callable[..., SchemaChange]]] = {
    "rehearse": ("apply it to a copy of the database, and compare", changes.rehearse),
    "apply": ("apply an approved change, or go on with one that was killed", applying.apply),
    "revert": ("hide what it added; nothing is dropped", changes.revert),
    "show": ("show again what was hidden", changes.show),
    "reject": ("say no to it", changes.reject),
}


class Command(BaseCommand):
    help = "Add tables, columns, choices and indexes: plan, rehearse, (staff approve in the admin), apply, revert."

    def add_arguments(self, parser: CommandParser) -> None:
        steps = parser.add_subparsers(dest="step", required=True, metavar="STEP")
        plan = steps.add_parser(
            "plan", help="read a document (TOML or JSON, - for standard input) and draw up the files"
        )
        plan.add_argument("document", help="the file, or the id of a change that was proposed")
        plan.add_argument("--words", action="store_true", help="the file says in plain words what is wanted")
        for verb, (says, _function) in VERBS.items():
            steps.add_parser(verb, help=says).add_argument("change", nargs="?", default="latest")
        steps.add_parser("status", help="every change, or one of them whole").add_argument("change", nargs="?")
        steps.add_parser("draft", help=argparse.SUPPRESS)  # its title comes on standard input
        for one in steps.choices.values():
            one.add_argument("--by", default="command", help="who, for the record")

    def handle(self, *, step: str, **options: Any) -> None:
        try:
            if step == "draft":
                made = drafting.make(sys.stdin.read().strip())
                self.stdout.write(json.dumps({"migrations": made.migrations, "sql": made.sql}))
            elif step == "status":
                self._status(options["change"])
            elif step == "plan":
                self._plan(options["document"], options["by"], in_words=options["words"])
            else:
                self._take(step, changes.find(options["change"]), options["by"])
        except (ChangeError, DocumentError, DraftError, ToolError, OSError) as error:
            raise CommandError(str(error)) from error

    def _take(self, step: str, change: SchemaChange, by: str) -> None:
        try:
            change = VERBS[step][1](change, by=by)
        except ChangeError as error:
            change.refresh_from_db()
            raise CommandError(f"{error} {NEXT.get(change.state, '')}".strip()) from error
        self._tell(change)

    def _plan(self, source: str, by: str, *, in_words: bool) -> None:
        if source != "-" and not Path(source).exists():
            try:
                change = changes.find(source)
            except ChangeError as error:
                raise CommandError(f"There is no file {source!r} here, and no proposed change of this id.") from error
        else:
            text = sys.stdin.read() if source == "-" else Path(source).read_text()
            change = changes.propose(words.read(text) if in_words else text, by=by, origin=Origin.FILE)
        changes.plan(change, by=by)
        self.stdout.write(change.diff)
        self.stdout.write("\n" + change.sql + "\n")
        self._tell(change)

    def _status(self, wanted: str | None) -> None:
        if wanted is None:
            for change in SchemaChange.objects.order_by("-id")[:50]:
                self.stdout.write(f"{change.pk}  {change.state:10}  {change.title}")
            return
        change = changes.find(wanted)
        self.stdout.write(change.diff + "\n\n" + change.sql + "\n")
        self._tell(change)

    def _tell(self, change: SchemaChange) -> None:
        self.stdout.write(self.style.SUCCESS(f"{change.pk}  {change.get_state_display()}  {change.title}"))
        for line in (change.error, change.notes, NEXT.get(change.state, "")):
            if line:
                self.stdout.write(f"  {line}")


NEXT = {
    "proposed": "Next: manage.py mechanic plan <id>",
    "planned": "Next: manage.py mechanic rehearse",
    "rehearsed": "Next: staff approve it in the admin, under Schema changes.",
    "approved": "Next: manage.py mechanic apply, or the worker does.",
}
