"""`manage.py apikey`: make, list, revoke and rotate keys of the HTTP API."""

import getpass
from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from conversations import keys
from conversations.models import ApiKey, Scope


class Command(BaseCommand):
    help = "Makes, lists, revokes and rotates keys of the HTTP API."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        create = actions.add_parser("create", help="make a key and show it once")
        create.add_argument("name", help="who or what will use it")
        create.add_argument(
            "--user-id", type=int, help="see this user's rows only, on every channel; default: everybody's"
        )
        create.add_argument("--scopes", nargs="+", choices=Scope.values, metavar="SCOPE", help=", ".join(Scope.values))
        create.add_argument("--expires", type=_days, metavar="DAYS", help="days it works; without it, until revoked")
        actions.add_parser("list", help="show every key, never its secret")
        revoke = actions.add_parser("revoke", help="end a key at once")
        revoke.add_argument("prefix", help="the eight characters behind `parley_`")
        rotate = actions.add_parser("rotate", help="make a successor; the old key works a little longer")
        rotate.add_argument("prefix")
        rotate.add_argument("--overlap", type=_days, metavar="DAYS", default=keys.OVERLAP, help="days, default 7")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            getattr(self, options["action"])(by=f"cli:{getpass.getuser()}", **options)
        except keys.ApiKeyError as error:
            raise CommandError(str(error)) from error

    def create(self, *, name: str, by: str, **options: Any) -> None:
        key, token = keys.create(
            name, by=by, user_id=options["user_id"], scopes=options["scopes"], expires_in=options["expires"]
        )
        self._show_once(key, token)

    def list(self, **_options: Any) -> None:
        for key in keys.every():
            whose = "service" if key.user_id is None else f"user {key.user_id}"
            used = key.last_used.isoformat(" ", "minutes") if key.last_used else "never"
            self.stdout.write(
                f"{key.prefix}  {keys.state(key):8}  {whose:14}  used {used:22}  {key.name}  [{' '.join(key.scopes)}]"
            )

    def revoke(self, *, prefix: str, by: str, **_options: Any) -> None:
        keys.revoke(prefix, by=by)
        self.stdout.write(f"{prefix} is revoked.")

    def rotate(self, *, prefix: str, by: str, overlap: timedelta, **_options: Any) -> None:
        key, token = keys.rotate(prefix, by=by, overlap=overlap)
        self._show_once(key, token)
        self.stdout.write(f"{prefix} works for {overlap.days} more days.")

    def _show_once(self, key: ApiKey, token: str) -> None:
        self.stdout.write(f"{token}\nThis is shown once. The key is {key}, scopes: {' '.join(key.scopes)}.")


def _days(text: str) -> timedelta:
    days = float(text)
    if not 0 <= days <= 36_500:
        raise ValueError(text)
    return timedelta(days=days)
