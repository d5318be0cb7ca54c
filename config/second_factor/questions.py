"""Who has a second factor. Nothing here reads a secret."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.contrib.auth.models import User
from django.db.models import OuterRef, QuerySet, Subquery
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice


@dataclass(frozen=True)
class Enrolled:
    """What may be told of somebody's second factor."""

    since: datetime | None
    used: datetime | None
    codes_left: int


def with_device(users: QuerySet[User]) -> QuerySet[User]:
    """Each user with the id of the device, in the query that reads the user."""
    mine = TOTPDevice.objects.filter(user=OuterRef("pk"), confirmed=True)
    return users.annotate(second_factor_id=Subquery(mine.values("pk")[:1]))


def device_id(user: User) -> int | None:
    """The device of whoever is logged in; read with the user by `CountingBackend.get_user`."""
    if not hasattr(user, "second_factor_id"):
        remember(user, TOTPDevice.objects.filter(user=user, confirmed=True).values_list("pk", flat=True).first())
    known: int | None = getattr(user, "second_factor_id")  # noqa: B009  annotated, no field of the model
    return known


def remember(user: User, device: int | None) -> None:
    """For the rest of this request: what was read with the user is older."""
    setattr(user, "second_factor_id", device)  # noqa: B010


def told(user: User) -> Enrolled | None:
    """For people to read; None for who is not enrolled."""
    device = TOTPDevice.objects.filter(user=user, confirmed=True).defer("key").first()
    if device is None:
        return None
    left = StaticToken.objects.filter(device__user=user).count()
    recovered = StaticDevice.objects.filter(user=user).values_list("last_used_at", flat=True).first()
    used = max((moment for moment in (device.last_used_at, recovered) if moment), default=None)
    return Enrolled(device.created_at, used, left)
