"""Enrolled, asked for, renewed, taken away: every verb is one transaction with its deed on record inside."""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import structlog
from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice
from django_otp.util import random_hex

from config import deeds, logins

APP, RECOVERY = "app", "recovery"
CODES = 10  # recovery codes at a time
SYMBOLS = "abcdefghjkmnpqrstuvwxyz23456789"  # without those that paper makes alike
LENGTH = 10  # symbols of a recovery code: 49 bits
BY_TIME = re.compile(r"[0-9]{6}", re.ASCII)
SPACING = re.compile(r"[\s\-‐‑–—]+")
SCOPE = "config.second_factor"  # of the count of tries and of the hashes of recovery codes
ANYWHERE = ""  # tries count per account, wherever they come from: whoever makes them has the password already

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Passed:
    """The code was right; it will not be again."""

    device_id: int
    by: str


@dataclass(frozen=True)
class Wrong:
    """The code was never right, or it was used before."""


@dataclass(frozen=True)
class Wait:
    """Too many wrong codes: nothing was looked at."""

    seconds: int


Verdict = Passed | Wrong | Wait


class AlreadyEnrolledError(Exception):
    """This account has a second factor: remove it first."""


def draft() -> str:
    """The secret of a device to be. It stays in the session of who asked until a code proves that it arrived."""
    return str(random_hex(20))


def unsaved(user: User, key: str) -> TOTPDevice:
    """The device that this secret would make."""
    return TOTPDevice(user=user, name=APP, key=key, confirmed=True)


def enrol(user: User, key: str, code: str) -> tuple[int, list[str]] | Wrong:
    """Keep the device if the code is its own; its id and the recovery codes, which nobody can show again.

    Tries are not counted: who enrols has the secret before their eyes.
    """
    with transaction.atomic():
        User.objects.select_for_update().get(pk=user.pk)  # two windows of one person: the second finds it done
        if TOTPDevice.objects.filter(user=user).exists():
            raise AlreadyEnrolledError
        device = unsaved(user, key)
        device.save()
        if not (BY_TIME.fullmatch(code := tidy(code)) and device.verify_token(code)):
            transaction.set_rollback(True)
            return Wrong()
        StaticDevice.objects.filter(user=user).delete()  # with it the code that opened the enrolment
        _tell("enrol", user.get_username(), user)
        return device.pk, _new_codes(user)


def check(user: User, code: str) -> Verdict:
    """Is this a code of the app, or a recovery code? Wrong ones are counted before they are looked at."""
    code = tidy(code)
    by = APP if BY_TIME.fullmatch(code) else RECOVERY
    if pause := _pause(user, by):
        return Wait(pause)
    if not logins.claim(str(user.pk), ANYWHERE, scope=SCOPE):
        log.warning("second factor locked", user=user.pk)
        return Wait(logins.PAUSE * 60)
    with transaction.atomic():
        device = TOTPDevice.objects.select_for_update().filter(user=user, confirmed=True).first()
        if device is None:
            return Wrong()
        right = device.verify_token(code) if by == APP else _use_recovery_code(user, code)
        _tell("pass" if right else "refuse", user.get_username(), user, means=by)
        if right:
            logins.forget(str(user.pk), ANYWHERE, scope=SCOPE)
    return Passed(device.pk, by) if right else Wrong()


def renew_codes(user: User, *, by: str) -> list[str]:
    """New recovery codes; the former work no more."""
    with transaction.atomic():
        TOTPDevice.objects.select_for_update().get(user=user)
        _tell("renew", by, user)
        return _new_codes(user)


def remove(user: User, *, by: str) -> None:
    """The device and its recovery codes are gone; taken away by their owner."""
    _take_away(user, "remove", by)


def reset(user: User, *, by: str) -> bool:
    """The same, done by somebody else because the device is lost; False where there was none."""
    return _take_away(user, "reset", by)


# --- how ---


def _take_away(user: User, action: str, by: str) -> bool:
    with transaction.atomic():
        devices = TOTPDevice.objects.select_for_update().filter(user=user)
        if not devices:
            return False
        devices.delete()
        StaticDevice.objects.filter(user=user).delete()
        logins.forget(str(user.pk), ANYWHERE, scope=SCOPE)
        _tell(action, by, user)
    return True


def _pause(user: User, by: str) -> int:
    """Seconds until django-otp looks at the next code: 1, 2, 4, 8 … after wrong ones in a row."""
    kind = TOTPDevice if by == APP else StaticDevice
    device = kind.objects.filter(user=user).first()
    allowed, why = device.verify_is_allowed() if device else (True, None)
    return 0 if allowed or not why else math.ceil((why["locked_until"] - timezone.now()).total_seconds())


def _use_recovery_code(user: User, code: str) -> bool:
    """django-otp compares and deletes; what it compares are hashes, under today's secret and former ones.

    The caller holds the lock of the app's row, which every use of either kind of code takes first.
    """
    device = StaticDevice.objects.get(user=user, name=RECOVERY)
    hashes = list(_hashes(user, code))
    known = device.token_set.filter(token__in=hashes).values_list("token", flat=True).first()
    return bool(device.verify_token(known or hashes[0]))


def _new_codes(user: User) -> list[str]:
    device, _made = StaticDevice.objects.get_or_create(user=user, name=RECOVERY)
    device.token_set.all().delete()
    codes = ["".join(secrets.choice(SYMBOLS) for _ in range(LENGTH)) for _ in range(CODES)]
    StaticToken.objects.bulk_create(StaticToken(device=device, token=next(_hashes(user, code))) for code in codes)
    return [f"{code[:5]}-{code[5:]}" for code in codes]


def _hashes(user: User, code: str) -> Iterator[str]:
    """Keyed, so that a copy of the database alone tells no code; 64 bits, for the column has sixteen places."""
    for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS):
        yield salted_hmac(SCOPE, f"{user.pk}:{code}", secret=secret, algorithm="sha256").hexdigest()[:16]


def tidy(code: str) -> str:
    """As people type it: with spaces, dashes and capitals."""
    return SPACING.sub("", code).lower()


def _tell(action: str, by: str, user: User, **details: str) -> None:
    """Never a code, never a secret."""
    deeds.tell(f"second_factor.{action}", by, ("user", user.pk), {"name": user.get_username()[:100], **details})
