"""What people see: the code after the password, enrolling, and their own second factor."""

from __future__ import annotations

from base64 import b32encode
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import wraps
from typing import Any, cast

import segno
from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminTextInputWidget

from config import logins
from config.second_factor import devices, gate, permits, questions, record
from config.second_factor.devices import Passed, Verdict, Wait
from config.second_factor.gate import Standing

DRAFT = "second_factor_draft"  # in the session: the secret of a device to be
TRIES_OF_OWNERS = "config.second_factor.owner"  # the scope of their count
FEW = 3  # recovery codes, of which people are reminded
IN_THE_ADMIN, BEFORE_IT = "admin/base_site.html", "unfold/layouts/unauthenticated.html"

View = Callable[[HttpRequest], HttpResponse]


class CodeInput(UnfoldAdminTextInputWidget):  # type: ignore[misc]
    """A code is of no use a second time: the field comes back empty."""

    def format_value(self, value: Any) -> None:  # noqa: ARG002  Django passes it
        return None


class CodeForm(forms.Form):
    """One field for both kinds of code; only the keyboard that a phone offers differs."""

    code = forms.CharField(label=gettext_lazy("Code"), max_length=64)

    def __init__(self, *args: Any, keyboard: str = "numeric", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        hints = {
            "autocomplete": "one-time-code",
            "inputmode": keyboard,
            "autocapitalize": "none",
            "spellcheck": "false",
        }
        self.fields["code"].widget = CodeInput(attrs=hints)


def _is_own_password(person: User, password: str) -> bool:
    """A stolen session has five tries, as a stranger at the login has."""
    name = str(person.pk)
    with suppress(logins.HashingBusyError):
        if logins.claim(name, "", scope=TRIES_OF_OWNERS) and logins.is_password_right(person, password):
            logins.forget(name, "", scope=TRIES_OF_OWNERS)
            return True
    return False


class EnrolmentForm(CodeForm):
    """The code of the new device, and what shows that its owner enrols: an issued code, or the password again."""

    proof = forms.CharField(max_length=128)

    def __init__(self, *args: Any, person: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.person, self.is_required = person, settings.STAFF_SECOND_FACTOR == gate.REQUIRED
        field = self.fields["proof"]
        if self.is_required:
            field.label = _("Enrolment code, from an operator")
            field.widget = CodeInput(attrs={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"})
        else:
            field.label = _("Your password")
            field.widget = UnfoldAdminPasswordWidget(attrs={"autocomplete": "current-password"})

    def clean_proof(self) -> str:
        proof: str = self.cleaned_data["proof"]
        if self.is_required and not permits.is_valid(self.person, proof):
            raise ValidationError(_("This enrolment code is wrong, used or over. An operator issues a new one."))
        if not self.is_required and not _is_own_password(self.person, proof):
            raise ValidationError(_("This is not your password."))
        return proof


def for_staff(view: View) -> View:
    """Behind the password and before the gate: Django's own wrapper would ask for both."""

    @wraps(view)
    def guarded(request: HttpRequest) -> HttpResponse:
        if not (request.user.is_active and request.user.is_staff):
            return redirect_to_login(request.get_full_path(), reverse("admin:login"))
        return view(request)

    return never_cache(sensitive_post_parameters()(guarded))


@for_staff
def ask(request: HttpRequest) -> HttpResponse:
    """The second half of logging in."""
    onward = _onward(request)
    if gate.standing(request) is not Standing.OWES_A_CODE:
        return redirect(onward)
    recovery = "recovery" in request.GET
    form = CodeForm(request.POST or None, keyboard="text" if recovery else "numeric")
    form.fields["code"].widget.attrs["autofocus"] = ""
    if request.method == "POST" and form.is_valid():
        match verdict := devices.check(_person(request), form.cleaned_data["code"]):
            case Passed(device_id=device, by=by):
                gate.let_through(request, device, by=by)
                if by == devices.RECOVERY:
                    _tell_what_is_left(request)
                return redirect(onward)
            case _:
                form.add_error("code", _words(verdict))
    return _page(request, "code", _("Second factor"), form=form, next=onward, recovery=recovery)


@for_staff
def own(request: HttpRequest) -> HttpResponse:
    """Set it up, or change it."""
    if questions.device_id(_person(request)) is None:
        return _enrolling(request)
    return _enrolled(request)


def _enrolling(request: HttpRequest) -> HttpResponse:
    """The secret belongs to the session that asked: no other window can have written it down before."""
    person = _person(request)
    key: str = request.session.setdefault(DRAFT, devices.draft())
    form = EnrolmentForm(request.POST or None, person=person)
    if request.method == "POST" and form.is_valid():
        try:
            outcome = devices.enrol(person, key, form.cleaned_data["code"])
        except devices.AlreadyEnrolledError:
            return redirect("admin:second_factor")
        if isinstance(outcome, tuple):
            device, codes = outcome
            del request.session[DRAFT]
            gate.let_through(request, device, by=record.ENROLLED)
            return _shown_once(request, codes)
        form.add_error("code", _("This is not the code of this key. Is the clock of the phone right?"))
    secret = b32encode(bytes.fromhex(key)).decode()
    return _page(
        request,
        "enrol",
        _("Set up a second factor"),
        form=form,
        secret=" ".join(secret[start : start + 4] for start in range(0, len(secret), 4)),
        drawing=_drawn(devices.unsaved(person, key).config_url),
    )


def _enrolled(request: HttpRequest) -> HttpResponse:
    """New recovery codes, or away with all of it: both ask for a code that is right now."""
    person = _person(request)
    wanted = request.POST.get("wanted", "")
    forms_ = {
        name: CodeForm(request.POST if name == wanted else None, keyboard="text", auto_id=f"{name}_%s")
        for name in ("renew", "remove")
    }
    form = forms_.get(wanted)
    if request.method == "POST" and form is not None and form.is_valid():
        verdict = devices.check(person, form.cleaned_data["code"])
        if isinstance(verdict, Passed):
            return _renewed(request) if wanted == "renew" else _removed(request)
        form.add_error("code", _words(verdict))
    told = questions.told(person)
    return _page(request, "own", _("Second factor"), told=told, few=FEW, forms=forms_)


def _renewed(request: HttpRequest) -> HttpResponse:
    return _shown_once(request, devices.renew_codes(_person(request), by=request.user.get_username()))


def _removed(request: HttpRequest) -> HttpResponse:
    devices.remove(_person(request), by=request.user.get_username())
    request.session.pop(gate.PROVEN, None)
    messages.success(request, _("The second factor is removed."))
    return redirect("admin:second_factor")


def _shown_once(request: HttpRequest, codes: list[str]) -> HttpResponse:
    """In the answer to the form and nowhere else: only their hashes are stored."""
    return _page(request, "codes", _("Recovery codes"), codes=codes, made=timezone.now())


def _page(request: HttpRequest, name: str, title: str, **context: Any) -> HttpResponse:
    through = gate.standing(request) is Standing.THROUGH
    context |= {
        **admin.site.each_context(request),
        "title": title,
        "layout": IN_THE_ADMIN if through else BEFORE_IT,
        "through": through,
    }
    return TemplateResponse(request, f"config/second_factor/{name}.html", context)


def _person(request: HttpRequest) -> User:
    """`for_staff` saw to it that there is one."""
    return cast(User, request.user)


def _onward(request: HttpRequest) -> str:
    """Where they were going; a stranger's address leads home."""
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    safe = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    return wanted if safe else reverse("admin:index")


def _drawn(text: str) -> str:
    """An SVG of two paths for the page itself: black on white in every theme, or cameras would not read it."""
    drawing: str = segno.make(text, error="m", micro=False).svg_inline(border=4, omitsize=True, light="#fff")
    return drawing


def _words(verdict: Verdict) -> str:
    match verdict:
        case Wait(seconds=seconds) if seconds < 60:
            text = ngettext(
                "Too many tries. Please wait %(count)s second.",
                "Too many tries. Please wait %(count)s seconds.",
                seconds,
            )
            return text % {"count": seconds}
        case Wait(seconds=seconds):
            now = timezone.now()
            return _("Too many tries. Time to wait: %(time)s.") % {
                "time": timesince(now - timedelta(seconds=seconds), now)
            }
        case _:
            return _("This code is wrong or was used before. Wait for the next one and try again.")


def _tell_what_is_left(request: HttpRequest) -> None:
    told = questions.told(_person(request))
    left = told.codes_left if told else 0
    text = ngettext("%(count)s recovery code is left.", "%(count)s recovery codes are left.", left) % {"count": left}
    messages.warning(request, text)
