#!/usr/bin/env python
"""The operator's entrance: `python manage.py help` lists every command."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        from django.core.management import execute_from_command_line
    except ImportError:
        sys.exit("Django is not installed in this Python. Run: make install, then .venv/bin/python manage.py ...")

    from config.database import EmbeddedServerError, at_hand_for

    try:
        with at_hand_for(sys.argv):
            execute_from_command_line(sys.argv)
    except EmbeddedServerError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
