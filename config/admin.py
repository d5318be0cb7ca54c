"""The one door to the admin's theme: every admin class of the project comes from here (ADR 0004)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.db import models
from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django_otp.plugins.otp_static.admin import StaticDevice
from django_otp.plugins.otp_totp.admin import TOTPDevice
from unfold import admin as unfold
from unfold.contrib.filters.admin import AutocompleteSelectFilter as AutocompleteFilter
from unfold.contrib.filters.admin import BooleanRadioFilter as BooleanFilter
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter
from unfold.decorators import display as theme_display
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminBigIntegerFieldWidget as NumberWidget
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget as CheckboxesWidget
from unfold.widgets import UnfoldAdminTextareaWidget as TextareaWidget
from unfold.widgets import UnfoldAdminTextInputWidget as TextWidget

from config import deeds
from config.lists import CappedPaginator, ChangeList, DateRange, RecentValues
from config.second_factor.staff import SecondFactorReset

__all__ = [
    "AutocompleteFilter",
    "BooleanFilter",
    "CheckboxesWidget",
    "ChoicesDropdownFilter",
    "DateRange",
    "DropdownFilter",
    "ModelAdmin",
    "NumberWidget",
    "ReadOnlyAdmin",
    "RecentValues",
    "StackedInline",
    "TabularInline",
    "TextWidget",
    "TextareaWidget",
    "display",
]


Method = TypeVar("Method", bound=Callable[..., Any])


def display(
    *, description: str | Promise, label: bool | Mapping[Any, str] | None = None, ordering: str | None = None
) -> Callable[[Method], Method]:
    """A method as a column: its heading, and colours of a badge by value (success, info, warning, danger, or none)."""
    decorate: Callable[[Method], Method] = theme_display(description=description, label=label, ordering=ordering)
    return decorate


class _KeepsBlankChoice:
    """Unfold drops the blank option of required choices; an untouched inline row could not be saved without it."""

    def formfield_for_choice_field(
        self, db_field: models.Field[Any, Any], request: HttpRequest, **kwargs: Any
    ) -> forms.ChoiceField | None:
        kwargs.setdefault("choices", db_field.get_choices(include_blank=not db_field.has_default()))
        return super().formfield_for_choice_field(db_field, request, **kwargs)  # type: ignore[misc, no-any-return]


class ModelAdmin(_KeepsBlankChoice, unfold.ModelAdmin):  # type: ignore[misc]
    """Base of every admin page."""

    icon = "table_rows"  # in the menu; a name of Material Symbols
    in_palette = True  # may Ctrl+K search its rows? Only where a search is cheap
    show_full_result_count = False  # a second COUNT(*) over the whole table, for one number nobody reads
    show_facets = admin.ShowFacets.NEVER  # a count per choice of every filter, each over the whole table
    paginator = CappedPaginator

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return ChangeList


class ReadOnlyAdmin(ModelAdmin):
    """For what people look at and code writes."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class TabularInline(_KeepsBlankChoice, unfold.TabularInline):  # type: ignore[misc]
    """Base of every inline in rows."""


class StackedInline(_KeepsBlankChoice, unfold.StackedInline):  # type: ignore[misc]
    """Base of every inline in blocks."""


class _OnRecord:
    """Who may do what is a deed: every change of an account or a group is on record."""

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        _told("staff.add", request, obj, message)
        return super().log_addition(request, obj, message)  # type: ignore[misc]

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        _told("staff.change", request, obj, message)
        return super().log_change(request, obj, message)  # type: ignore[misc]

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        for obj in queryset:
            _told("staff.delete", request, obj, [])
        return super().log_deletions(request, queryset)  # type: ignore[misc]


def _told(action: str, request: HttpRequest, obj: Any, message: Any) -> None:
    """Which fields changed, never to what: a password is among them."""
    details = {"name": str(obj)[:100], "changed": message}
    deeds.tell(action, request.user.get_username(), (str(obj._meta.model_name), obj.pk), details)


admin.site.unregister([User, Group])
# django-otp's pages show the secrets of devices and may write them: nobody needs them (config/second_factor).
admin.site.unregister([StaticDevice, TOTPDevice])


@admin.register(User)
class UserAdmin(_OnRecord, SecondFactorReset, DjangoUserAdmin, ModelAdmin):  # type: ignore[type-arg, misc]
    """Staff accounts."""

    icon = "person"
    list_display = ("username", "email", "first_name", "last_name", "is_staff", "has_second_factor")
    readonly_fields = ("second_factor",)
    fieldsets = (*(DjangoUserAdmin.fieldsets or ()), (_("Second factor"), {"fields": ("second_factor",)}))
    change_form_outer_after_template = "config/second_factor/reset.html"

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


@admin.register(Group)
class GroupAdmin(_OnRecord, DjangoGroupAdmin, ModelAdmin):  # type: ignore[misc]
    """Groups of staff, for permissions."""

    icon = "group"


import config.queue.admin  # noqa: E402, F401  the page of the queue; it needs the classes above
