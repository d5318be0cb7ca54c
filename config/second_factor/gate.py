"""In front of the admin: a session whose password was right, and nothing else, reaches one page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any, cast

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.sessions.backends.base import SessionBase
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.decorators import sync_and_async_middleware
from django.utils.http import urlencode

from config.second_factor import questions, record

PROVEN = "second_factor"  # in the session: the id of the device that was proven in it
REQUIRED = "required"

Response = Any
GetResponse = Callable[[HttpRequest], Response | Awaitable[Response]]


class Standing(Enum):
    """How far a member of staff has come, and the page that is open to them."""

    THROUGH = ""
    OWES_A_CODE = "admin:second_factor_code"
    OWES_A_DEVICE = "admin:second_factor"


OWED = {Standing.OWES_A_CODE: "code", Standing.OWES_A_DEVICE: "device"}  # in the words of the record


def standing(request: HttpRequest) -> Standing:
    """Judged on every request: enrolling, losing a device and a new setting hold for sessions that are open."""
    return standing_of(cast(User, request.user), request.session)


def standing_of(user: User, session: SessionBase) -> Standing:
    device = questions.device_id(user)
    if device is not None:
        return Standing.THROUGH if session.get(PROVEN) == device else Standing.OWES_A_CODE
    return Standing.OWES_A_DEVICE if settings.STAFF_SECOND_FACTOR == REQUIRED else Standing.THROUGH


def password_was_right(request: HttpRequest, user: User, **_signal: Any) -> None:
    """Django tells of it by signal alone."""
    stands = standing_of(user, request.session)
    if stands is Standing.THROUGH:
        record.complete(user, record.NONE)
    else:
        record.begun(request, user, OWED[stands])


def let_through(request: HttpRequest, device: int, *, by: str) -> None:
    """This session has proven that device; it goes on under another key, as after a login."""
    request.session.cycle_key()
    request.session[PROVEN] = device
    questions.remember(cast(User, request.user), device)
    record.came_through(request, by)


def turned_away(request: HttpRequest) -> HttpResponse | None:
    """Where whoever owes something is sent; None for everybody else. Pages ask for the password by themselves."""
    user = request.user
    if not (user.is_authenticated and user.is_active and user.is_staff):
        return None
    stands = standing(request)
    if stands is Standing.THROUGH:
        record.came_through(request)  # what was owed may have been taken back meanwhile: a reset, another setting
        return None
    if request.path in (reverse("admin:logout"), page := reverse(stands.value)):
        return None
    asked = {"next": request.get_full_path()} if request.method in {"GET", "HEAD"} else {}
    return redirect(f"{page}?{urlencode(asked)}" if asked else page)


@sync_and_async_middleware
def gate(get_response: GetResponse) -> GetResponse:
    """The middleware. Outside of the admin it costs nothing: API keys and health checks never meet it."""

    def guards(request: HttpRequest) -> bool:
        return request.path_info.startswith("/admin/")

    if iscoroutinefunction(get_response):

        async def around_async(request: HttpRequest) -> Response:
            answer = await sync_to_async(turned_away)(request) if guards(request) else None
            return answer or await get_response(request)

        return around_async

    def around(request: HttpRequest) -> Response:
        answer = turned_away(request) if guards(request) else None
        return answer or get_response(request)

    return around
