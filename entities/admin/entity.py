"""The page of any table: list, filters, search, a form, the lineage below it; deleting hides and can be taken back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern
from django.utils.decorators import method_decorator
from django.utils.functional import Promise
from django.utils.text import capfirst
from django.utils.translation import gettext as now_gettext
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST

from config.admin import DateRange, DropdownFilter, ModelAdmin, RecentValues, TextareaWidget, display
from entities import hiding, keeping
from entities.admin import columns, story
from entities.base import Entity
from entities.errors import EntityError
from entities.models import EntityChange

ICONS = {"characters": "theater_comedy", "projects": "work", "ideas": "lightbulb", "notes": "sticky_note_2"}
SEARCHED_FROM_PALETTE = 10_000  # newest rows: the palette asks at every pause in typing
MOST_AT_ONCE = 1_000
VERBS = ("forget", "restore", "revert")
SEEN = "seen"  # what the form was made from


class Deleted(DropdownFilter):  # type: ignore[misc]
    """Deleted rows are out of sight until somebody looks for them."""

    title = _("deleted rows")
    parameter_name = "deleted"
    all_option = ("", _("hidden"))

    def lookups(self, _request: HttpRequest, _model_admin: Any) -> list[tuple[str, str | Promise]]:
        return [("only", _("deleted rows alone")), ("with", _("shown, too"))]

    def queryset(self, _request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "only":
                return queryset.filter(is_deleted=True)
            case "with":
                return queryset
            case _:
                return queryset.filter(is_deleted=False)


class ByUser(RecentValues):
    """Whose rows."""

    title = _("user")
    parameter_name = column = "created_by"
    newest = ("-id",)


class EntityForm(forms.ModelForm):  # type: ignore[type-arg]
    """Whoever saves over a change that came meanwhile is told first."""

    told = False

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        now = seen(self.instance)
        if now and self.data.get(SEEN, now) != now:
            self.told = True
            raise ValidationError(
                _("Somebody changed this meanwhile. Look at what changed below; saving again puts your values.")
            )
        return cleaned

    @property
    def stamp(self) -> str:
        """What the next answer to this form is made from."""
        return str((None if self.told else self.data.get(SEEN)) or seen(self.instance))


def seen(row: Any) -> str:
    """The state of the row that a form shows."""
    return row.updated_at.isoformat() if row is not None and not row._state.adding else ""


class EntityAdmin(ModelAdmin):
    """Everything is read from the model: a table that comes later looks like those that are here."""

    form = EntityForm
    in_palette = True
    empty_hint = _("Agents and staff write these, and each value remembers where it came from.")
    list_filter_submit = True
    list_per_page = 50
    ordering = ("-id",)  # the newest first, by the primary key
    sortable_by = ()
    actions = ("forget_rows", "restore_rows")
    change_form_before_template = "entities/seen.html"
    change_form_outer_after_template = "entities/lineage.html"

    class Media:
        css = {"all": ["entities/entity.css"]}

    # --- the list ---

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        state = ["state"] if request.GET.get(Deleted.parameter_name) else []
        return ["name_of_row", *columns.cells(self.model), "created_by", "updated_at", *state]

    def get_list_filter(self, request: HttpRequest) -> list[Any]:
        return [Deleted, *columns.filters(self.model), ByUser, ("created_at", DateRange)]

    def get_list_select_related(self, request: HttpRequest) -> list[str] | bool:
        return columns.linked(self.model) or False

    def get_autocomplete_fields(self, request: HttpRequest) -> list[str]:
        return columns.linked(self.model)

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        return columns.searched(self.model) or ["id"]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """An id finds its row; else whatever short text contains the words. Elsewhere than here deleted rows hide."""
        where = request.resolver_match.url_name if request.resolver_match else ""
        if where in {"search", "autocomplete"}:
            queryset = queryset.filter(is_deleted=False)
        text = search_term.strip().replace("\0", "")
        if not text:
            return queryset, False
        if identity := _uuid(text):
            return queryset.filter(pk=identity), False
        if where == "search":
            oldest = next(iter(queryset.order_by("-id").values_list("pk", flat=True)[SEARCHED_FROM_PALETTE:][:1]), None)
            queryset = queryset.filter(pk__gt=oldest) if oldest else queryset
        condition = Q(pk__in=[])
        for name in columns.searched(self.model):
            condition |= Q(**{f"{name}__icontains": text})
        return queryset.filter(condition), False

    @display(description=_("name"))
    def name_of_row(self, row: Entity) -> str:
        return columns.shortened(str(row))

    @display(description=_("state"), label={"deleted": "danger"})
    def state(self, row: Entity) -> tuple[str, str] | str:
        return ("deleted", str(_("deleted"))) if row.is_deleted else ""

    # --- the form ---

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        times = ["created_at", "updated_at"] if obj else []
        return [*columns.editable(self.model), "created_by", *times]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["created_at", "updated_at"] if obj else []

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if columns.is_list(db_field):
            return columns.LinesField(
                label=capfirst(db_field.verbose_name),
                required=False,
                help_text=_("One item a line."),
                widget=TextareaWidget(attrs={"rows": 4}),
            )
        made = super().formfield_for_dbfield(db_field, request, **kwargs)
        if db_field.name == "created_by" and made is not None:
            made.help_text = _("The end user whose row this is: agents act on it for that user alone. Empty: staff's.")
        return made

    def save_model(self, request: HttpRequest, obj: Any, form: forms.BaseForm, change: bool) -> None:
        by, chosen = request.user.get_username(), form.cleaned_data
        if change:
            keeping.change(obj, values={name: chosen[name] for name in form.changed_data if name in chosen}, by=by)
            return
        made = keeping.create(self.model, values=chosen, by=by)
        obj.pk, obj._state.adding = made.pk, False
        obj.refresh_from_db()

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The form, and below it where the values come from."""
        identity = _uuid(unquote(object_id))
        row = self.get_queryset(request).filter(pk=identity).first() if identity else None
        context = dict(extra_context or {})
        if row is not None and self.has_view_permission(request, row):
            before = _uuid(request.GET.get("before", ""))
            context |= {
                "row": row,
                "lineage": story.read(row, before),
                "from_the_newest": before is None,
                "may_revert": self.has_change_permission(request),
                "may_forget": self.has_forget_permission(request),
                **{f"{verb}_url": f"{columns.page_of(self.model, row.pk)[: -len('change/')]}{verb}/" for verb in VERBS},
            }
        try:
            return super().change_view(request, object_id, form_url, context)  # type: ignore[no-any-return]
        except EntityError as error:  # what a form cannot know: the row it links to went while it was open
            self.message_user(request, str(error), messages.ERROR)
            return redirect(request.path)

    # --- permissions: a row in the bin is looked at, and taken out of it ---

    def has_module_permission(self, request: HttpRequest) -> bool:
        return not self._is_hidden() and super().has_module_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return not self._is_hidden() and super().has_view_permission(request, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return not self._is_hidden() and super().has_add_permission(request)

    def _is_hidden(self) -> bool:
        """Was the table reverted?"""
        return self.opts.db_table in hiding.hidden()

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        if self._is_hidden():
            return False
        return super().has_change_permission(request, obj) and not (obj is not None and obj.is_deleted)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody deletes; `has_forget_permission` asks who may hide."""
        return False

    def has_forget_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(f"{self.opts.app_label}.delete_{self.opts.model_name}")

    # --- verbs ---

    def get_urls(self) -> list[URLPattern]:
        views = dict(zip(VERBS, (self.forget_row, self.restore_row, self.revert_value), strict=True))
        return [*self.urls_below("<uuid:entity_id>", views), *super().get_urls()]

    @method_decorator(require_POST)
    def forget_row(self, request: HttpRequest, entity_id: UUID) -> HttpResponse:
        done = now_gettext("It is deleted, and can be restored.")
        return self._do(request, entity_id, self.has_forget_permission, keeping.forget, done)

    @method_decorator(require_POST)
    def restore_row(self, request: HttpRequest, entity_id: UUID) -> HttpResponse:
        return self._do(request, entity_id, self.has_forget_permission, keeping.restore, now_gettext("It is back."))

    @method_decorator(require_POST)
    def revert_value(self, request: HttpRequest, entity_id: UUID) -> HttpResponse:
        """Only a change of this very row."""
        taken_back = _uuid(request.POST.get("change", ""))
        its_own = EntityChange.objects.filter(entity_id=entity_id, entity_type=self.opts.model_name)
        if taken_back is None or not its_own.filter(pk=taken_back).exists():
            raise Http404
        return self._do(
            request,
            entity_id,
            self.has_change_permission,
            lambda _row, by: keeping.revert(taken_back, by=by),
            now_gettext("The value before stands again."),
        )

    def _do(
        self,
        request: HttpRequest,
        entity_id: UUID,
        allowed: Callable[[HttpRequest], bool],
        deed: Callable[..., Any],
        told: str,
    ) -> HttpResponse:
        if not allowed(request):
            raise PermissionDenied
        row = self.get_queryset(request).filter(pk=entity_id).first()
        if row is None:
            raise Http404
        try:
            deed(row, by=request.user.get_username())
            self.message_user(request, told, messages.SUCCESS)
        except EntityError as error:
            self.message_user(request, str(error), messages.ERROR)
        return redirect(columns.page_of(self.model, entity_id))

    @admin.action(description=_("Delete (can be restored)"), permissions=["forget"])
    def forget_rows(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        by = request.user.get_username()
        done = sum(keeping.forget(row, by=by) for row in queryset[:MOST_AT_ONCE])
        self.message_user(request, ngettext("%d row was deleted.", "%d rows were deleted.", done) % done)

    @admin.action(description=_("Restore"), permissions=["forget"])
    def restore_rows(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        by = request.user.get_username()
        done = sum(keeping.restore(row, by=by) for row in queryset[:MOST_AT_ONCE])
        self.message_user(request, ngettext("%d row is back.", "%d rows are back.", done) % done)


def admin_for(model: type[Entity]) -> type[EntityAdmin]:
    """The page of this table."""
    icon = ICONS.get(model._meta.db_table, "category")
    return type(f"{model.__name__}Admin", (EntityAdmin,), {"icon": icon, "__module__": __name__})


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text) if len(text) >= 32 else None
    except ValueError:
        return None
