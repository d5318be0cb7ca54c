"""`manage.py import_conversations`: bring conversations in from an older system, and take them back if need be."""

import getpass
import sys
from argparse import ArgumentParser
from datetime import tzinfo
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.core.management.base import BaseCommand, CommandError
from django.db import Error

from agents.models import Agent
from config.progress import Bar
from conversations.channels import UnknownChannelError, channel
from conversations.legacy import batches, retrying, undoing, verifying
from conversations.legacy.batches import Terms
from conversations.legacy.chunks import Chunk
from conversations.legacy.cleaning import LONGEST, MOST, Rules
from conversations.legacy.detecting import KINDS, source_of
from conversations.legacy.errors import LegacyError, OptionError
from conversations.legacy.report import Report
from conversations.legacy.sources import Options
from conversations.models import ImportBatch, ImportStatus, Role
from search import coverage

LISTED = 20
INTERRUPTED = 130  # as a shell says of a program that Ctrl-C ended


class Command(BaseCommand):
    help = (
        "Imports conversations from a PostgreSQL database or a JSON file, which are only read. Repeated, it brings "
        "only what is new; interrupted, it goes on where it was. docs/import.md tells the whole way."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("source", nargs="?", help="postgresql://user@host/name, or a .json or .jsonl file")
        parser.add_argument("--format", choices=KINDS, metavar="FORMAT", help=f"of {', '.join(KINDS)}; found by itself")
        parser.add_argument("--dry-run", action="store_true", help="read everything, write nothing, tell what is there")
        read = parser.add_argument_group("how to read the source")
        read.add_argument("--table", help="where its table has another name")
        read.add_argument("--map", action="append", default=[], metavar="FIELD=COLUMN", help="which column is which")
        read.add_argument("--role", action="append", default=[], metavar="NAME=ROLE", help=f"{', '.join(Role.values)}")
        read.add_argument(
            "--assistant", action="append", default=[], metavar="ID", help="who answered, in a Telegram export"
        )
        read.add_argument("--timezone", default="UTC", help="of times that name none, like Europe/Moscow")
        read.add_argument("--name", default="", help="of the source, where the next file will be called otherwise")
        read.add_argument("--longest", type=int, metavar="CHARACTERS", help=f"of a message; default {LONGEST:,}")
        into = parser.add_argument_group("where it goes")
        into.add_argument("--channel", default="import", help="the channel people go on in, like telegram")
        into.add_argument("--agent", help="who answers them; without it, the default agent")
        into.add_argument("--user-id", type=int, help="whose conversations these are; without it, as the source says")
        into.add_argument("--leave-buffers", action="store_true", help="the old system still answers what waits")
        after = parser.add_argument_group("afterwards")
        after.add_argument("--list", action="store_true", help="the latest imports")
        after.add_argument("--verify", type=UUID, metavar="IMPORT", help="compare what is stored with what was read")
        after.add_argument(
            "--retry", type=UUID, metavar="IMPORT", help="store its rejects, with --role where roles are at fault"
        )
        after.add_argument("--undo", type=UUID, metavar="IMPORT", help="take back what it brought, and nothing else")
        after.add_argument("--force", action="store_true", help="undo although people have written since")

    def handle(self, **given: Any) -> None:
        by = f"cli:{getpass.getuser()}"
        verbs = {"list": self._list, "verify": self._verify, "retry": self._retry, "undo": self._undo}
        asked = [name for name in verbs if given[name]]
        if len(asked) + (given["source"] is not None) != 1:
            raise CommandError("Name a source, or one of --list, --verify, --retry and --undo.")
        try:
            if asked:
                verbs[asked[0]](given, by)
            else:
                self._import(given, by)
        except (LegacyError, OSError) as error:
            raise CommandError(str(error)) from error
        except Error as error:
            raise CommandError(f"The import stopped and can be started again: {error}") from error
        except KeyboardInterrupt:
            raise CommandError("Stopped. The same command goes on from here.", returncode=INTERRUPTED) from None

    def _import(self, given: dict[str, Any], by: str) -> None:
        options, terms = _options(given), _terms(given)
        source = source_of(given["source"], given["format"], options)
        self.stdout.write(f"{source.kind}: {source.origin}")
        bar = Bar(sys.stderr, source.total(), "messages", "" if given["dry_run"] else "comparing")

        def progress(chunk: Chunk, report: Report) -> None:
            bar(chunk.done, report.read)

        if given["dry_run"]:
            report = batches.rehearse(source, terms, progress=progress)
            bar.close()
            self._show(report)
            self.stdout.write("Nothing was written.")
            return
        try:
            batch = batches.bring(source, terms, by=by, progress=progress)
        finally:
            bar.close()
        self._show(Report.of(batch.report))
        self._conclude(batch)

    def _conclude(self, batch: ImportBatch) -> None:
        if batch.rejected:
            self.stdout.write(f"{batches.open_rejects(batch):,} rejects wait in the admin, each with its reason.")
        if batch.status == ImportStatus.DIFFERS:
            raise CommandError(f"Import {batch.pk}: what is stored is not what was read. See its page in the admin.")
        what = "what could be read of it" if batch.rejected else "what was read"
        self.stdout.write(self.style.SUCCESS(f"Import {batch.pk} is done: every conversation is equal to {what}."))
        if waiting := coverage.not_indexed_yet():
            self.stdout.write(f"{waiting} The worker does it beside its other work.")

    def _show(self, report: Report) -> None:
        lines = list(report.lines())
        width = max(len(heading) for heading, _text in lines)
        for heading, text in lines:
            self.stdout.write(f"{heading:<{width}}  {text}")
        for what, often, examples in report.troubles():
            self.stdout.write(self.style.WARNING(f"{what}: {often}"))
            for example in examples:
                self.stdout.write(f"    {example}")

    def _list(self, _given: dict[str, Any], _by: str) -> None:
        for batch in ImportBatch.objects.order_by("-created_at")[:LISTED]:
            counts = f"{batch.brought:,} brought, {batch.known:,} known, {batch.rejected:,} rejected"
            self.stdout.write(
                f"{batch.pk}  {batch.created_at:%Y-%m-%d %H:%M}  {batch.status:8}  {counts}  {batch.origin}"
            )

    def _verify(self, given: dict[str, Any], _by: str) -> None:
        differing = verifying.verify(batches.get(given["verify"]).pk, again=True)
        if differing:
            raise CommandError(f"{differing} conversations are not what was read.")
        self.stdout.write(self.style.SUCCESS("Every conversation is equal to what was read."))

    def _retry(self, given: dict[str, Any], by: str) -> None:
        rules = (
            _terms(given).rules if given["role"] or given["longest"] else batches.rules_of(batches.get(given["retry"]))
        )
        stored, left = retrying.retry(given["retry"], rules, by=by)
        self.stdout.write(f"{stored:,} were stored, at the end of their conversations; {left:,} stay rejected.")

    def _undo(self, given: dict[str, Any], by: str) -> None:
        bar = Bar(sys.stderr, undoing.left(given["undo"]), "conversations")
        gone = 0

        def progress(more: int) -> None:
            nonlocal gone
            gone += more
            bar(gone)

        try:
            done = undoing.undo(given["undo"], by=by, force=given["force"], progress=progress)
        finally:
            bar.close()
        self.stdout.write(
            f"{done.erased:,} conversations were erased; in {done.marked:,} others messages were marked deleted."
        )


def _options(given: dict[str, Any]) -> Options:
    return Options(
        given["table"], _pairs(given["map"], "--map"), frozenset(given["assistant"]), _zone(given["timezone"])
    )


def _terms(given: dict[str, Any]) -> Terms:
    roles = _pairs(given["role"], "--role")
    if unknown := set(roles.values()) - set(Role.values):
        raise CommandError(f"There is no role {', '.join(sorted(unknown))}; there are {', '.join(Role.values)}.")
    if given["longest"] is not None and not 1 <= given["longest"] <= MOST:
        raise CommandError(f"--longest is from 1 to {MOST}.")
    rules = Rules.made(
        roles, _zone(given["timezone"]), open_buffers=not given["leave_buffers"], longest=given["longest"]
    )
    kept = (
        "format",
        "table",
        "map",
        "role",
        "assistant",
        "timezone",
        "longest",
        "name",
        "channel",
        "agent",
        "user_id",
        "leave_buffers",
    )
    told = {name: given[name] for name in kept if given[name]}
    return Terms(rules, _channel(given["channel"]), _agent(given["agent"]), given["user_id"], given["name"], told)


def _pairs(given: list[str], option: str) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    if wrong := [text for text, (name, mark, _value) in zip(given, pairs, strict=True) if not (name and mark)]:
        raise CommandError(f"{option} takes NAME=VALUE, not {wrong[0]}.")
    return {name: value for name, _mark, value in pairs}


def _agent(name: str | None) -> UUID | None:
    if name is None:
        return None
    found = Agent.objects.filter(name=name).first()
    if found is None:
        known = ", ".join(Agent.objects.order_by("name").values_list("name", flat=True))
        raise OptionError(f"There is no agent {name}; known: {known or 'none'}.")
    return found.pk


def _channel(name: str) -> str:
    """A channel nobody knows would take messages, and no answer would ever leave."""
    try:
        channel(name)
    except UnknownChannelError as error:
        raise OptionError(str(error)) from error
    return name


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise CommandError(f"There is no time zone {name}.") from error
