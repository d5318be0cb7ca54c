"""manage.py password: a new random password for a staff account."""

from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser

from config import staff


class Command(BaseCommand):
    help = "Make a new random password for a staff account and print it once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username", nargs="?", default=staff.USERNAME)

    def handle(self, *, username: str, **_options: Any) -> None:
        if username == staff.USERNAME and (first := staff.ensure_login()):
            self.stdout.write(f"Staff login: {username} / {first}   (shown once)")
            return
        try:
            password = staff.new_password(username)
        except User.DoesNotExist:
            known = ", ".join(User.objects.filter(is_staff=True).values_list("username", flat=True)[:5])
            raise CommandError(
                f"There is no staff account '{username}'. "
                + (f"There is: {known}." if known else "`manage.py password` makes the first.")
            ) from None
        self.stdout.write(f"Staff login: {username} / {password}   (shown once)")
