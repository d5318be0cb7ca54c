"""What the record tells of a login: the password alone is a step, and a login only where no more is owed (ADR 0138)."""

from __future__ import annotations

from typing import cast

from django.contrib.auth.models import User
from django.http import HttpRequest

from config import deeds

BEGUN = "login_begun"  # in the session: the password was right, and the login is not on record yet
ENROLLED, NONE = "enrolled", "none"  # beside the two kinds of codes


def begun(request: HttpRequest, user: User, owes: str) -> None:
    """The password was right, and opens nothing yet."""
    request.session[BEGUN] = True
    _tell("staff.password", user, owes=owes)


def complete(user: User, by: str) -> None:
    """They are in."""
    _tell("staff.login", user, second_factor=by)


def came_through(request: HttpRequest, by: str = NONE) -> None:
    """The rest of a login that was begun. A session that was open and proves a device anew is no other login."""
    if request.session.pop(BEGUN, False):
        complete(cast(User, request.user), by)


def _tell(action: str, user: User, **details: str) -> None:
    deeds.tell(action, user.get_username(), ("user", user.pk), details)
