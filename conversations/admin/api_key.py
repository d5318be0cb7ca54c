"""Keys of the HTTP API: made, shown once, replaced and ended by staff."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, reverse
from django.utils.decorators import method_decorator
from django.utils.text import capfirst
from django.utils.translation import gettext as now_gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from config.admin import CheckboxesWidget, ModelAdmin, NumberWidget, TextWidget, display
from config.text import plain
from conversations import keys
from conversations.models import ApiKey, Scope

LONGEST = 3650  # days
STATES = {"live": _("live"), "revoked": _("revoked"), "expired": _("expired")}
BIGGEST = 2**63 - 1


class NewKeyForm(forms.ModelForm):  # type: ignore[type-arg]
    """What staff decide about a key; the rest is made by `keys.create`."""

    name = forms.CharField(
        label=capfirst(_("name")), max_length=100, widget=TextWidget, help_text=_("Who will use it.")
    )
    user_id = forms.IntegerField(
        label=capfirst(_("user")),
        required=False,
        min_value=-BIGGEST,
        max_value=BIGGEST,
        widget=NumberWidget,
        help_text=_("The key sees this user's rows alone. Empty: a service that acts for everybody."),
    )
    scopes = forms.MultipleChoiceField(
        label=capfirst(_("scopes")), choices=Scope.choices, initial=Scope.values, widget=CheckboxesWidget
    )
    days = forms.IntegerField(
        label=capfirst(_("days")),
        required=False,
        min_value=1,
        max_value=LONGEST,
        widget=NumberWidget,
        help_text=_("How long it works. Empty: until somebody revokes it."),
    )

    class Meta:
        model = ApiKey
        fields = ("name", "user_id", "scopes")


@admin.register(ApiKey)
class ApiKeyAdmin(ModelAdmin):
    """Never shows the hash; the token is on the page that answers its making, and nowhere else."""

    icon = "key"
    empty_hint = _("Programs that call the API show a key; make one for each of them.")
    list_display = ("shown_name", "prefix", "user_id", "shown_scopes", "shown_state", "last_used", "expires")
    search_fields = ("name", "prefix")
    sortable_by = ()
    actions = None
    form = NewKeyForm
    readonly_fields = ("prefix", "shown_state", "shown_scopes", "created_at", "last_used", "expires", "revoked")
    change_form_outer_after_template = "conversations/key_actions.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiKey]:
        return keys.every()

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        return ("name", "user_id", "scopes", "days") if obj is None else ("name", "user_id", *self.readonly_fields)

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        return () if obj is None else self.readonly_fields

    def has_change_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        """A key's rights are never edited: make another one. Staff with the permission may revoke and replace."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        return super().has_view_permission(request, obj) or may_end(request)

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """One button: every way to save ends at the page that shows the token."""
        only = {"show_save_and_add_another": False, "show_save_and_continue": False, **(extra_context or {})}
        return super().add_view(request, form_url, only)  # type: ignore[no-any-return]

    def save_model(self, request: HttpRequest, obj: Any, form: forms.BaseForm, change: bool) -> None:
        chosen = form.cleaned_data
        days = chosen["days"]
        key, token = keys.create(
            chosen["name"],
            by=request.user.get_username(),
            user_id=chosen["user_id"],
            scopes=chosen["scopes"],
            expires_in=timedelta(days=days) if days else None,
        )
        obj.pk, obj.prefix, obj.token = key.pk, key.prefix, token

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        return self._shown_once(request, obj, obj.token)

    def get_urls(self) -> list[URLPattern]:
        verbs = {"revoke": self.revoke, "replace": self.replace}
        return [*self.urls_below("<uuid:key_id>", verbs), *super().get_urls()]

    @method_decorator(require_POST)
    def revoke(self, request: HttpRequest, key_id: UUID) -> HttpResponse:
        key = self._endable(request, key_id)
        keys.revoke(key.prefix, by=request.user.get_username())
        self.log_change(request, key, "revoked")
        self.message_user(request, now_gettext("The key does not work any more."), messages.SUCCESS)
        return redirect("admin:conversations_apikey_change", key.pk)

    @method_decorator(require_POST)
    def replace(self, request: HttpRequest, key_id: UUID) -> HttpResponse:
        key = self._endable(request, key_id)
        try:
            new, token = keys.rotate(key.prefix, by=request.user.get_username())
        except keys.KeyNotFoundError:
            self.message_user(request, now_gettext("The key does not work any more."), messages.ERROR)
            return redirect("admin:conversations_apikey_change", key.pk)
        self.log_change(request, key, "replaced")
        return self._shown_once(request, new, token)

    def _shown_once(self, request: HttpRequest, key: ApiKey, token: str) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": _("The new key"),
            "key": key,
            "token": token,
            "next": reverse("admin:conversations_apikey_change", args=[key.pk]),
        }
        return TemplateResponse(request, "conversations/key_created.html", context)

    def _endable(self, request: HttpRequest, key_id: UUID) -> ApiKey:
        if not may_end(request):
            raise PermissionDenied
        key = keys.every().filter(pk=key_id).first()
        if key is None:
            raise Http404
        return key

    @display(description=_("name"))
    def shown_name(self, key: ApiKey) -> str:
        return plain(key.name)

    @display(description=_("scopes"))
    def shown_scopes(self, key: ApiKey) -> str:
        return ", ".join(str(Scope(scope).label) for scope in key.scopes)

    @display(
        description=_("state"),
        label={STATES["live"]: "success", STATES["revoked"]: "danger", STATES["expired"]: "warning"},
    )
    def shown_state(self, key: ApiKey) -> str:
        return str(STATES[keys.state(key)])


def may_end(request: HttpRequest) -> bool:
    """Revoking and replacing take the permission to change keys."""
    return request.user.has_perm("conversations.change_apikey")
