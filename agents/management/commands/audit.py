"""`manage.py audit`: was the record changed, and the record as a file."""

from argparse import ArgumentParser, ArgumentTypeError
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from agents import audit, export, proof


class Command(BaseCommand):
    help = "Verifies the audit log's hash chain (exit code 1 where it is broken), or exports the log."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        verify = actions.add_parser("verify", help="compute every link of the chain anew")
        verify.add_argument("--head", metavar="SEQ:HASH", help="what an earlier run printed: is it still in the chain?")
        as_file = actions.add_parser("export", help="write the log to standard output")
        as_file.add_argument("--format", choices=export.FORMATS, default="csv", dest="file_format")
        as_file.add_argument("--since", type=_moment, metavar="DATE", help="for example 2026-01-31, or with a time")

    def handle(self, *, action: str, **options: Any) -> None:
        getattr(self, action)(**options)

    def verify(self, *, head: str | None, **_options: Any) -> None:
        verdict = proof.verify(head)
        for problem in verdict.problems:
            self.stdout.write(self.style.ERROR(problem))
        self.stdout.write(f"{verdict.entries:,} entries; head {verdict.head or 'none'}")
        if verdict.problems:
            raise SystemExit(1)
        self.stdout.write(self.style.SUCCESS("The record is whole. Keep the head elsewhere and pass it as --head."))

    def export(self, *, file_format: str, since: datetime | None, **_options: Any) -> None:
        details = {"format": file_format, "filters": ["since"] if since else []}
        audit.record("audit.export", "command", None, details)
        for line in export.lines(export.entries(since=since), file_format):
            self.stdout.write(line, ending="")


def _moment(text: str) -> datetime:
    """A date or a date with a time; without a zone it is ours."""
    try:
        moment = parse_datetime(f"{text}T00:00" if len(text) == len("2026-01-31") else text)
    except ValueError:
        moment = None
    if moment is None:
        raise ArgumentTypeError(f"{text!r} is no date; for example 2026-01-31")
    return moment if timezone.is_aware(moment) else timezone.make_aware(moment)
