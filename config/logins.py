"""Tries of the staff login are counted before a password is looked at, by one count for all processes.

In a quarter of an hour: five for an account from one network, thirty from one network over all accounts, fifty for an
account over all networks. The last one never locks out a browser that has logged in to the account before.
"""

from __future__ import annotations

from threading import BoundedSemaphore
from typing import Any

import structlog
from django.conf import settings
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import connection
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext_lazy as _
from unfold.forms import AuthenticationForm

from config.addresses import network_of
from config.second_factor import questions

TRIES, NETWORK_TRIES, ACCOUNT_TRIES = 5, 30, 50
HASHES = BoundedSemaphore(2)  # a hash takes half a second of a core: more at once would starve the site
HASH_WAIT = 20  # seconds for a turn to hash
KNOWN_DEVICE, KNOWN_DAYS = "known_device", 90  # a signed cookie with the account it logged in to
PAUSE = 15  # minutes from the last counted try
PASSWORDS = "config.logins"  # the scope of their count; codes of the second factor have another
SWEEP = 100  # stale rows a try clears away, so that strangers' guesses do not pile up

EVERYBODY, EVERYWHERE = "*", "*"  # no account and no address is called so

BUSY = "parley.login_busy"
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
TAKE_BACK = """
    UPDATE login_attempts SET tries = greatest(tries - 1, 1)
    WHERE username_hash = %(username)s AND address = %(address)s
"""
FORGET = "DELETE FROM login_attempts WHERE username_hash = %(username)s AND address = %(address)s"
CLEAR = """
    DELETE FROM login_attempts WHERE (username_hash, address) IN (
        SELECT username_hash, address FROM login_attempts
        WHERE last_at < clock_timestamp() - make_interval(mins => %(pause)s)
        ORDER BY last_at LIMIT %(sweep)s FOR UPDATE SKIP LOCKED)
"""


class HashingBusyError(Exception):
    """Too many passwords are being hashed: this one was not looked at."""


class CountingBackend(ModelBackend):
    """Django's own check of a password, behind the counts of tries."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> User | None:
        if request is None or username is None or password is None:
            return super().authenticate(request, username=username, password=password, **kwargs)
        if not claim_login(request, username):
            log.warning("login locked", network=network_of(request))
            request.META[LOCKED] = True
            raise PermissionDenied
        user = User.objects.filter(username=username).first()
        try:
            right = is_password_right(user, password)
        except HashingBusyError:
            uncount(request, username)
            request.META[BUSY] = True
            raise PermissionDenied from None
        if not right or user is None or not self.user_can_authenticate(user):
            return None
        take_back(request, username)
        request.META[KNOWN_DEVICE] = user.pk
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
        if BUSY in self.request.META:
            return ValidationError(_("Many are logging in at this moment. Please try again in a minute."), code="busy")
        error: ValidationError = super().get_invalid_login_error()
        return error


def claim_login(request: HttpRequest, username: str) -> bool:
    """Count a try of the login; False where a budget is used up. A refused try counts no further: one network alone
    cannot use up the budget of an account."""
    network = network_of(request)
    return (
        claim(username, network)
        and claim(EVERYBODY, network, limit=NETWORK_TRIES)
        and (claim(username, EVERYWHERE, limit=ACCOUNT_TRIES) or _is_known_device(request, username))
    )


def claim(username: str, address: str, *, scope: str = PASSWORDS, limit: int = TRIES) -> bool:
    """Count a try; may its password, or its code, be looked at?"""
    with connection.cursor() as cursor:
        cursor.execute(CLEAR, {"pause": PAUSE, "sweep": SWEEP})
        cursor.execute(CLAIM, {**_key(username, address, scope), "pause": PAUSE, "limit": limit})
        tries: int = cursor.fetchone()[0]
    return tries <= limit


def take_back(request: HttpRequest, username: str) -> None:
    """The right password was no guess: its account starts again, and an office behind one address is not locked."""
    uncount(request, username)
    forget(username, network_of(request))


def uncount(request: HttpRequest, username: str) -> None:
    """A try that was not one: nothing was guessed, or nothing was looked at."""
    network = network_of(request)
    with connection.cursor() as cursor:
        for name, address in ((username, network), (EVERYBODY, network), (username, EVERYWHERE)):
            cursor.execute(TAKE_BACK, _key(name, address, PASSWORDS))


def is_password_right(user: User | None, password: str) -> bool:
    """Hash it with no connection to the database held; an unknown account takes as long as a known one."""
    if not connection.in_atomic_block:
        connection.close()
    if not HASHES.acquire(timeout=HASH_WAIT):
        log.warning("login.hashing_overloaded")
        raise HashingBusyError
    try:
        if user is not None:
            return user.check_password(password)
        make_password(password)
        return False
    finally:
        HASHES.release()


def remember_device(request: HttpRequest, response: HttpResponseBase) -> None:
    """Mark the browser of a login that was right; the mark alone opens nothing."""
    if (user_id := request.META.get(KNOWN_DEVICE)) is None:
        return
    response.set_signed_cookie(
        KNOWN_DEVICE, str(user_id), salt=KNOWN_DEVICE, max_age=KNOWN_DAYS * 86_400, path=settings.SESSION_COOKIE_PATH,
        secure=settings.SESSION_COOKIE_SECURE, httponly=True, samesite="Strict",
    )  # fmt: skip


def _is_known_device(request: HttpRequest, username: str) -> bool:
    mark = request.get_signed_cookie(KNOWN_DEVICE, "", salt=KNOWN_DEVICE, max_age=KNOWN_DAYS * 86_400) or ""
    return bool(mark) and User.objects.filter(pk=int(mark), username=username).exists()


def forget(username: str, address: str, *, scope: str = PASSWORDS) -> None:
    """The right one clears the slate."""
    with connection.cursor() as cursor:
        cursor.execute(FORGET, _key(username, address, scope))


def _key(username: str, address: str, scope: str) -> dict[str, str]:
    """Only a keyed hash of the name is kept: people type their password into the wrong field."""
    return {"username": salted_hmac(scope, username, algorithm="sha256").hexdigest(), "address": address}
