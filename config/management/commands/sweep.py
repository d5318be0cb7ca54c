"""`manage.py sweep`: finds overdue rows and wakes them, now."""

import sys
from typing import Any

from django.core.management.base import BaseCommand

from config.queue import sweep


class Command(BaseCommand):
    help = "Find overdue rows and wake them: what a worker does every half minute. Exit code 1 if a finder broke."

    def handle(self, *args: Any, **options: Any) -> None:
        results = sweep()
        for result in results:
            self.stdout.write(f"{result.name:40} {result.error or f'{result.woken} woken'}")
        if any(result.error for result in results):
            sys.exit(1)
