"""manage.py second_factor: who has one, and the way back in for who lost theirs."""

import getpass
from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError

from config.second_factor import devices, permits, questions


class Command(BaseCommand):
    help = (
        "Shows who of the staff has a second factor, lets people set one up, and takes away one whose device is lost."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        status = actions.add_parser("status", help="since when, last used, recovery codes left")
        status.add_argument("username", nargs="?", help="everybody of the staff where it is left out")
        permit = actions.add_parser(
            "permit", help="issue a code with which somebody may set one up, once and for a day"
        )
        permit.add_argument("username")
        reset = actions.add_parser("reset", help="remove device and recovery codes: the password alone opens again")
        reset.add_argument("username")

    def handle(self, *, action: str, username: str | None, **_options: Any) -> None:
        staff = User.objects.filter(is_staff=True).order_by("username")
        chosen = staff.filter(username=username) if username else staff
        if username and not chosen:
            known = ", ".join(staff.values_list("username", flat=True)[:5])
            raise CommandError(f"There is no staff account '{username}'. " + (f"There is: {known}." if known else ""))
        for user in chosen:
            self.stdout.write(f"{user.get_username()}: {ACTIONS[action](user)}")


def _status(user: User) -> str:
    told = questions.told(user)
    if told is None:
        return "no second factor"
    return f"set up {_moment(told.since)}, last used {_moment(told.used)}, {told.codes_left} recovery codes left"


def _moment(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else "never"


def _reset(user: User) -> str:
    if not devices.reset(user, by=f"cli:{getpass.getuser()}"):
        return "had no second factor; nothing was changed"
    return "the second factor is removed; the next login asks for the password alone, and it can be set up anew"


def _permit(user: User) -> str:
    try:
        code = permits.issue(user, by=f"cli:{getpass.getuser()}")
    except devices.AlreadyEnrolledError:
        return "has a second factor already; reset it first"
    return f"enrolment code {code}   (shown once, works once, ends in {permits.HOURS} hours)"


ACTIONS = {"status": _status, "permit": _permit, "reset": _reset}
