"""Tools: what agents may call. Which code that can be is decided by the code alone."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from agents import allowlist, schemas, toolbox
from agents.models import Tool
from config.admin import ModelAdmin, TextareaWidget, TextWidget, display


class ToolForm(forms.ModelForm):  # type: ignore[type-arg]
    """Refuses what the registry would refuse, with its words, beside the field."""

    class Meta:
        model = Tool
        fields = ("name", "description", "module_path", "schema", "agent", "high_impact", "is_active")
        widgets = {"module_path": TextWidget, "schema": TextareaWidget}

    def clean_module_path(self) -> str:
        given: str = self.cleaned_data["module_path"]
        try:
            toolbox.refuse_foreign_code(self.data.get("name", ""), given, by=self.by)  # type: ignore[attr-defined]
        except allowlist.ModuleRefusedError as error:
            raise ValidationError(str(error)) from error
        return given

    def clean_schema(self) -> Any:
        try:
            schemas.check(self.cleaned_data["schema"])
        except schemas.SchemaInvalidError as error:
            raise ValidationError(str(error)) from error
        return self.cleaned_data["schema"]


@admin.register(Tool)
class ToolAdmin(ModelAdmin):
    """Registered, changed, switched on and off; never deleted, since the record names it."""

    icon = "construction"
    in_palette = False
    form = ToolForm
    list_display = ("name", "description", "shown_state", "high_impact", "agent", "module_path")
    list_select_related = ("agent",)
    search_fields = ("name", "description")
    sortable_by = ()
    actions = None

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change, **kwargs)
        return type(form.__name__, (form,), {"by": request.user.get_username()})

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return () if obj is None else ("name",)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Any, form: forms.BaseForm, change: bool) -> None:
        by = request.user.get_username()
        chosen = form.cleaned_data
        saved = toolbox.save(
            obj.name,
            module_path=chosen["module_path"],
            by=by,
            description=chosen["description"],
            schema=chosen["schema"],
            agent=chosen["agent"],
            high_impact=chosen["high_impact"],
        )
        toolbox.switch(saved, on=chosen["is_active"], by=by)
        obj.pk = saved.pk

    @display(description=_("state"), label={"on": "success", "off": "warning"})
    def shown_state(self, tool: Tool) -> tuple[str, str]:
        return ("on", str(_("may be called"))) if tool.is_active else ("off", str(_("switched off")))
