"""Enrolled people, what their apps show, and time that goes by without waiting."""

from __future__ import annotations

import re
import time
from datetime import timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone
from django_otp.oath import TOTP
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice

from agents.models import AuditEntry
from config.second_factor import devices, permits

LOGIN, OWN, CODE = "/admin/login/", "/admin/second-factor/", "/admin/second-factor/code/"
SPARE = re.compile(r"<code>([a-z2-9]{5}-[a-z2-9]{5})</code>")


def code_of(key: str, steps: int = 0) -> str:
    """What the app shows, now or so many half minutes away."""
    app = TOTP(bytes.fromhex(key))
    app.time = time.time() + 30 * steps
    return f"{app.token():06d}"


def enrolling(user: User, key: str) -> dict[str, str]:
    """The form of the page that sets it up, rightly filled in."""
    required = settings.STAFF_SECOND_FACTOR == "required"
    return {"code": code_of(key), "proof": permits.issue(user, by="test") if required else "right horse"}


def wrong_for(key: str) -> str:
    near = {code_of(key, steps) for steps in range(-3, 4)}
    return next(guess for guess in (f"{number:06d}" for number in range(10)) if guess not in near)


def enrolled(user: User) -> tuple[str, list[str]]:
    """The key and the recovery codes of a device whose first code is long past."""
    key = devices.draft()
    outcome = devices.enrol(user, key, code_of(key))
    assert isinstance(outcome, tuple)
    forget_the_last_code()
    return key, outcome[1]


def forget_the_last_code() -> None:
    """As if half a minute had gone by: nobody waits for it here."""
    TOTPDevice.objects.update(last_t=-1)


def be_patient() -> None:
    """As if django-otp's pause after wrong codes were over; the count of tries stays."""
    past = timezone.now() - timedelta(days=1)
    TOTPDevice.objects.update(throttling_failure_timestamp=past)
    StaticDevice.objects.update(throttling_failure_timestamp=past)


def by_password(path: str = "/admin/") -> tuple[Client, HttpResponse]:
    client = Client()
    return client, client.post(LOGIN, {"username": "anna", "password": "right horse", "next": path}, follow=True)


def deeds() -> list[str]:
    found = AuditEntry.objects.filter(action__startswith="second_factor.").order_by("pk")
    return [action.removeprefix("second_factor.") for action in found.values_list("action", flat=True)]


def logins() -> list[tuple[str, dict[str, str]]]:
    found = AuditEntry.objects.filter(action__startswith="staff.").order_by("pk")
    return [(action.removeprefix("staff."), details) for action, details in found.values_list("action", "details")]
