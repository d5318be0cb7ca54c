"""The one door to the admin's theme: every admin class of the project comes from here (ADR 0004)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeVar, cast

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, Permission, User
from django.db import models
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path
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


DEEDS = {"add": _("add"), "change": _("change"), "delete": _("delete"), "view": _("view")}  # as Django calls them

Method = TypeVar("Method", bound=Callable[..., Any])


def display(
    *, description: str | Promise, label: bool | Mapping[Any, str] | None = None, ordering: str | None = None
) -> Callable[[Method], Method]:
    """A method as a column: its heading, and colours of a badge by value (success, info, warning, danger, or none)."""
    badge = _Colours(label) if isinstance(label, Mapping) else label
    decorate: Callable[[Method], Method] = theme_display(description=description, label=badge, ordering=ordering)

    def as_column(method: Method) -> Method:
        @wraps(method)
        def shown(*args: Any) -> Any:
            value = method(*args)
            return _Named(value) if badge and isinstance(value, tuple) else value

        return decorate(cast("Method", shown))

    return as_column


class _Colours(dict[Any, str]):
    """The theme shows the bare code of a value that has no colour, where it should show its name."""

    def __missing__(self, _value: Any) -> str:
        return ""


class _Named(tuple[str, str]):
    """A code and its name: the theme's badges want both, and its form pages print whatever they are given."""

    def __str__(self) -> str:
        return self[1]


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
    empty_hint: str | Promise = ""  # how a first row comes about, where the list has none
    show_facets = admin.ShowFacets.NEVER  # a count per choice of every filter, each over the whole table
    paginator = CappedPaginator

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return ChangeList

    def urls_below(self, place: str, views: Mapping[str, Callable[..., HttpResponseBase]]) -> list[URLPattern]:
        """Pages and buttons of our own, by the last part of their address; each is named room_model_part."""
        model, above = f"{self.opts.app_label}_{self.opts.model_name}", f"{place}/" if place else ""
        return [
            path(
                f"{above}{part}/",
                self.admin_site.admin_view(view),
                name=f"{model}_{part.split('/')[0].replace('-', '_')}",
            )
            for part, view in views.items()
        ]


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


class _NamesPermissions:
    """Django keeps the names of permissions in the database, in English: "Can add turn"."""

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_manytomany(db_field, request, **kwargs)  # type: ignore[misc]
        if field is not None and db_field.related_model is Permission:
            field.label_from_instance = _permission
        return field


def _permission(permission: Permission) -> str:
    """Room, kind of row, and what may be done with it."""
    deed, _line, kind = permission.codename.partition("_")
    may = DEEDS.get(deed) if kind == permission.content_type.model else None
    return f"{permission.content_type} | {may or permission.name}"


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
class UserAdmin(_NamesPermissions, _OnRecord, SecondFactorReset, DjangoUserAdmin, ModelAdmin):  # type: ignore[type-arg, misc]
    """Staff accounts."""

    icon = "person"
    list_display = ("username", "email", "first_name", "last_name", "is_staff", "has_second_factor")
    readonly_fields = ("second_factor",)
    fieldsets = (*(DjangoUserAdmin.fieldsets or ()), (_("Second factor"), {"fields": ("second_factor",)}))
    change_form_outer_after_template = "config/second_factor/reset.html"

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        """Rights are given by superusers: with `change_user` alone one could make oneself one."""
        rights = () if request.user.is_superuser else ("is_superuser", "groups", "user_permissions")
        return (*super().get_readonly_fields(request, obj), *rights)

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """An account, its password included, is changed by those who have at least its rights."""
        return super().has_change_permission(request, obj) and _may_touch(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_delete_permission(request, obj) and _may_touch(request, obj)


def _may_touch(request: HttpRequest, person: User | None) -> bool:
    """Whoever sets a password may log in with it: nobody gains a right by that."""
    if person is None or request.user.is_superuser:
        return True
    return not person.is_superuser and _rights_of(person) <= _rights_of(request.user)


def _rights_of(person: Any) -> set[int]:
    """Rights given to the account or by its groups; a deactivated account counts, since it may be activated again."""
    given = Permission.objects.filter(models.Q(user=person) | models.Q(group__user=person))
    return set(given.values_list("pk", flat=True))


@admin.register(Group)
class GroupAdmin(_NamesPermissions, _OnRecord, DjangoGroupAdmin, ModelAdmin):  # type: ignore[misc]
    """Groups of staff, for permissions."""

    icon = "group"

    def get_readonly_fields(self, request: HttpRequest, obj: Group | None = None) -> tuple[str, ...]:
        """What a group may is for superusers to say: whoever is in it has it."""
        return () if request.user.is_superuser else ("permissions",)
