"""On the page of an account: has it a second factor, and the way back in for who lost theirs. Superusers only."""

from __future__ import annotations

from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import URLPattern, path
from django.utils.decorators import method_decorator
from django.utils.formats import date_format
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from config.second_factor import devices, questions


class SecondFactorReset:
    """For the admin of accounts."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        users: QuerySet[User] = super().get_queryset(request)  # type: ignore[misc]
        return questions.with_device(users)

    @admin.display(description=gettext_lazy("Second factor"), boolean=True)
    def has_second_factor(self, user: User) -> bool:
        return questions.device_id(user) is not None

    @admin.display(description=gettext_lazy("Second factor"))
    def second_factor(self, user: User) -> str:
        told = questions.told(user)
        if told is None:
            return _("not set up")
        since = date_format(localtime(told.since), "DATETIME_FORMAT") if told.since else "?"
        return _("set up %(since)s, recovery codes left: %(left)s") % {"since": since, "left": told.codes_left}

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.reset_second_factor)  # type: ignore[attr-defined]
        ours = path("<int:user_id>/second-factor/reset/", view, name="auth_user_second_factor_reset")
        return [ours, *super().get_urls()]  # type: ignore[misc]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        person = User.objects.filter(pk=object_id).first() if object_id.isdecimal() else None
        shown = person is not None and may_reset(request, person) and questions.device_id(person) is not None
        more = {"may_reset": shown, **(extra_context or {})}
        return cast(HttpResponse, super().change_view(request, object_id, form_url, more))  # type: ignore[misc]

    @method_decorator(require_POST)
    def reset_second_factor(self, request: HttpRequest, user_id: int) -> HttpResponse:
        person = get_object_or_404(User, pk=user_id)
        if not may_reset(request, person):
            raise PermissionDenied
        if devices.reset(person, by=request.user.get_username()):
            self.log_change(request, person, "second factor reset")  # type: ignore[attr-defined]
            messages.success(request, _("The second factor is removed."))
        return redirect("admin:auth_user_change", user_id)


def may_reset(request: HttpRequest, person: User) -> bool:
    """Their own they remove on their own page, where a code is asked for."""
    return bool(request.user.is_superuser) and request.user.pk != person.pk
