"""Enrolment codes: who sets up a second factor where it is required shows a code that an operator issued for them.

A password alone would do otherwise: whoever has it first could enrol their own phone. A code works once, ends after a
day, and only its keyed hash is stored.
"""

from __future__ import annotations

import secrets
import time

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.utils.crypto import salted_hmac
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from config import deeds, logins
from config.second_factor.devices import LENGTH, SYMBOLS, AlreadyEnrolledError, tidy

NAME = "enrolment"  # of the row that keeps the hash; recovery codes have one of their own
HOURS = 24
SCOPE = "config.second_factor.permits"


def issue(user: User, *, by: str) -> str:
    """A new code for somebody without a second factor; the one before works no more."""
    with transaction.atomic():
        User.objects.select_for_update().get(pk=user.pk)
        if TOTPDevice.objects.filter(user=user).exists():
            raise AlreadyEnrolledError
        withdraw(user)
        ends = int(time.time()) // 60 + HOURS * 60
        secret = "".join(secrets.choice(SYMBOLS) for _ in range(LENGTH))
        device = StaticDevice.objects.create(user=user, name=NAME, confirmed=False)
        StaticToken.objects.create(device=device, token=_hash(user, f"{ends}{secret}"))
        logins.forget(str(user.pk), "", scope=SCOPE)
        deeds.tell("second_factor.permit", by, ("user", user.pk), {"name": user.get_username()[:100], "hours": HOURS})
    return f"{ends}-{secret[:5]}-{secret[5:]}"


def is_valid(user: User, code: str) -> bool:
    """Whether the code opens the enrolment now; tries are counted before they are looked at."""
    if not logins.claim(str(user.pk), "", scope=SCOPE):
        return False
    code = tidy(code)
    ends, secret = code[:-LENGTH], code[-LENGTH:]
    if not (ends.isascii() and ends.isdigit() and len(ends) < LENGTH and int(ends) * 60 > time.time()):
        return False
    hashed = _hash(user, f"{ends}{secret}")
    found = bool(StaticToken.objects.filter(device__user=user, device__name=NAME, token=hashed).exists())
    if found:  # a mistyped code of the app is no guess of this one
        logins.forget(str(user.pk), "", scope=SCOPE)
    return found


def withdraw(user: User) -> None:
    """No code opens the enrolment any more."""
    StaticDevice.objects.filter(user=user, name=NAME).delete()


def _hash(user: User, code: str) -> str:
    return salted_hmac(SCOPE, f"{user.pk}:{code}", secret=settings.SECRET_KEY, algorithm="sha256").hexdigest()[:16]
