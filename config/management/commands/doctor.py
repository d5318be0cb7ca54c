"""manage.py doctor: what is wrong with this installation, and what to do about it."""

import json
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import connection

from config import doctor
from config.health import Result


class Command(BaseCommand):
    help = "Check this installation; the exit code is 0 when everything is well, else 1."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print the results as JSON")

    def handle(self, *, json: bool, **_options: Any) -> None:
        results = doctor.examine()
        connection.close()
        if json:
            self.stdout.write(_as_json(results))
        else:
            self._print(results)
        raise SystemExit(0 if all(result.ok for result in results) else 1)

    def _print(self, results: list[Result]) -> None:
        width = max(len(result.name) for result in results)
        for result in results:
            mark = self.style.SUCCESS("ok  ") if result.ok else self.style.ERROR("FAIL")
            self.stdout.write(f"{mark}  {result.name:<{width}}  {result.detail}")
            if not result.ok:
                self.stdout.write(f"      {'':<{width}}  -> {result.fix}")
        failed = sum(not result.ok for result in results)
        verdict = f"{failed} of {len(results)} checks failed." if failed else f"All {len(results)} checks are well."
        self.stdout.write(verdict)


def _as_json(results: list[Result]) -> str:
    return json.dumps([asdict(result) for result in results], indent=2)
