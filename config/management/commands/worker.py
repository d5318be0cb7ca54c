"""`manage.py worker`: runs the tasks of the queue."""

import os
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from config.queue.supervisor import Supervisor
from config.reloading import begin_anew


class Command(BaseCommand):
    help = "Run the tasks of the queue until SIGTERM or Ctrl+C. Several may run, here and on other machines."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--processes",
            type=int,
            default=settings.WORKER_PROCESSES,
            help="how many tasks run at once (default: WORKER_PROCESSES, %(default)s)",
        )

    def handle(self, *args: Any, processes: int, **options: Any) -> None:
        if not 1 <= processes <= 256:
            raise CommandError(f"--processes is 1 to 256, not {processes}.")
        if settings.DATABASE_POOL:
            raise CommandError("DATABASE_POOL is for the web process: a pool must not be forked. Unset it here.")
        self.stderr.write(f"Working with {processes} processes (pid {os.getpid()}). Ctrl+C stops.")
        if Supervisor(processes).run():
            begin_anew()
