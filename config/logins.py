"""The staff login: who guesses a password has five tries per quarter of an hour, whoever runs how many processes."""

from __future__ import annotations

from typing import Any

import structlog
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import connection
from django.http import HttpRequest
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext_lazy as _
from unfold.forms import AuthenticationForm

from config.addresses import client_address
from config.second_factor import questions

TRIES = 5
PAUSE = 15  # minutes from the last counted try
PASSWORDS = "config.logins"  # the scope of their count; codes of the second factor have another
SWEEP = 100  # stale rows a try clears away, so that strangers' guesses do not pile up

LOCKED = "parley.login_locked"  # in request.META: how the backend tells the form

log = structlog.get_logger(__name__)

# Counted before the password is looked at, in one statement: of twenty simultaneous guesses five are looked at.
# A try while locked does not prolong the lock, or a stranger could keep a colleague out for ever.
CLAIM = """
    INSERT INTO login_attempts AS known (username_hash, address, tries, last_at)
    VALUES (%(username)s, %(address)s, 1, clock_timestamp())
    ON CONFLICT (username_hash, address) DO UPDATE SET
        tries = CASE WHEN known.last_at < clock_timestamp() - make_interval(mins => %(pause)s) THEN 1
                     ELSE least(known.tries + 1, %(limit)s + 1) END,
        last_at = CASE WHEN known.tries >= %(limit)s AND known.last_at >= clock_timestamp()
                            - make_interval(mins => %(pause)s) THEN known.last_at ELSE clock_timestamp() END
    RETURNING tries
"""
FORGET = "DELETE FROM login_attempts WHERE username_hash = %(username)s AND address = %(address)s"
CLEAR = """
    DELETE FROM login_attempts WHERE (username_hash, address) IN (
        SELECT username_hash, address FROM login_attempts
        WHERE last_at < clock_timestamp() - make_interval(mins => %(pause)s)
        ORDER BY last_at LIMIT %(sweep)s FOR UPDATE SKIP LOCKED)
"""


class CountingBackend(ModelBackend):
    """Django's own check of a password, behind the count of tries."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> User | None:
        if request is None or username is None:
            return super().authenticate(request, username=username, password=password, **kwargs)
        if not claim(username, address := client_address(request)):
            log.warning("login locked", address=address)
            request.META[LOCKED] = True
            raise PermissionDenied
        user = super().authenticate(request, username=username, password=password, **kwargs)
        if user is not None:
            forget(username, address)
        return user

    def get_user(self, user_id: int) -> User | None:
        """Whose session it is, and their second factor, in one query."""
        user = questions.with_device(User.objects.all()).filter(pk=user_id).first()
        return user if user is not None and self.user_can_authenticate(user) else None


class LoginForm(AuthenticationForm):  # type: ignore[misc]
    """Says that tries have run out, in the same words whether the account exists or not."""

    def get_invalid_login_error(self) -> ValidationError:
        if LOCKED in self.request.META:
            return ValidationError(
                _("Too many tries. Please wait %(minutes)s minutes."), code="locked", params={"minutes": PAUSE}
            )
        error: ValidationError = super().get_invalid_login_error()
        return error


def claim(username: str, address: str, *, scope: str = PASSWORDS) -> bool:
    """Count a try; may its password, or its code, be looked at?"""
    with connection.cursor() as cursor:
        cursor.execute(CLEAR, {"pause": PAUSE, "sweep": SWEEP})
        cursor.execute(CLAIM, {**_key(username, address, scope), "pause": PAUSE, "limit": TRIES})
        tries: int = cursor.fetchone()[0]
    return tries <= TRIES


def forget(username: str, address: str, *, scope: str = PASSWORDS) -> None:
    """The right one clears the slate."""
    with connection.cursor() as cursor:
        cursor.execute(FORGET, _key(username, address, scope))


def _key(username: str, address: str, scope: str) -> dict[str, str]:
    """Only a keyed hash of the name is kept: people type their password into the wrong field."""
    return {"username": salted_hmac(scope, username, algorithm="sha256").hexdigest(), "address": address}
