"""`manage.py worker`: runs the tasks of the queue."""

import os
import socket
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from config.queue import numbers
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
        parser.add_argument(
            "--alive", action="store_true", help="for a container's probe: exit code 0 if the worker of this host lives"
        )

    def handle(self, *args: Any, processes: int, alive: bool, **options: Any) -> None:
        if alive:
            if not numbers.worker_of(socket.gethostname()):
                raise CommandError(f"No worker of this host gave a sign within {numbers.SILENT} s.")
            return
        if not 1 <= processes <= 256:
            raise CommandError(f"--processes is 1 to 256, not {processes}.")
        if settings.DATABASE_POOL:
            raise CommandError("DATABASE_POOL is for the web process: a pool must not be forked. Unset it here.")
        self.stderr.write(f"Working with {processes} processes (pid {os.getpid()}). Ctrl+C stops.")
        if Supervisor(processes).run():
            begin_anew()
