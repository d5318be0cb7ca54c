#!/usr/bin/env python
"""The operator's entrance: `python manage.py help` lists every command."""

import importlib
import os
import sys

READER_GONE = 141  # as a shell says of a program that SIGPIPE ended


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        from django.core.management import execute_from_command_line
    except ImportError:
        sys.exit("Django is not installed in this Python. Run: make install, then .venv/bin/python manage.py ...")

    from django.core.exceptions import ImproperlyConfigured
    from environs import EnvError

    try:
        importlib.import_module(os.environ["DJANGO_SETTINGS_MODULE"])
    except (EnvError, ImproperlyConfigured) as error:
        sys.exit(f"{error}\n.env.example tells of every setting.")

    from django.db import OperationalError

    from config.database import EmbeddedServerError, at_hand_for
    from config.postgresql.failures import failure

    try:
        with at_hand_for(sys.argv):
            execute_from_command_line(sys.argv)
        sys.stdout.flush()
    except EmbeddedServerError as error:
        sys.exit(str(error))
    except OperationalError as error:
        if "--traceback" in sys.argv or failure(error) is None:
            raise
        reason = str(error).strip().splitlines()[-1]
        sys.exit(f"The database did not do it: {reason}\n`manage.py doctor` tells more, --traceback where it was.")
    except BrokenPipeError:  # whoever read the output has seen enough, as in `manage.py search x | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(READER_GONE)


if __name__ == "__main__":
    main()
