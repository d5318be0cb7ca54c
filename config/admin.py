"""The one door to the admin's theme: every admin class of the project comes from here (ADR 0004)."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.db import models
from django.http import HttpRequest
from unfold import admin as unfold
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm


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


class TabularInline(_KeepsBlankChoice, unfold.TabularInline):  # type: ignore[misc]
    """Base of every inline in rows."""


class StackedInline(_KeepsBlankChoice, unfold.StackedInline):  # type: ignore[misc]
    """Base of every inline in blocks."""


admin.site.unregister([User, Group])


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ModelAdmin):  # type: ignore[type-arg]
    """Staff accounts."""

    icon = "person"

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, ModelAdmin):
    """Groups of staff, for permissions."""

    icon = "group"
